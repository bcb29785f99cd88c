"""Single sign-on by OpenID Connect (Core 1.0): the authorization code flow with PKCE, state and nonce.

What is asked of the provider leaves through `Outbound`, bounded in time and size. What comes back is believed only
when it is signed by one of the provider's keys, for us, for this very attempt, and not long ago.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote_plus, urlencode

from portal.http import Answer, NoAnswer, NotJSON, Outbound, Request
from portal.operators.errors import (
    AttemptUnknown,
    EmailNotVerified,
    IdentityNotProved,
    ProviderDeclined,
    ProviderSilent,
)
from portal.operators.rules import spell
from portal.settings import Settings

ATTEMPT_LIFE = timedelta(minutes=10)
LEEWAY = 60  # seconds that clocks may differ
DISCOVERY_LIFE = 3600.0  # seconds
CEILING, LARGEST = 10.0, 200_000  # seconds, bytes
# Signatures that only the provider's private key can make: no `none`, and no HS256, whose key would be public.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
_SIGNS = ("RSA", "EC", "OKP")  # kinds of keys


@dataclass(frozen=True)
class Attempt:
    """One sign-in under way. It is sealed into a cookie, and so bound to the browser that began it."""

    state: str
    nonce: str
    verifier: str
    began_at: float
    is_proof: bool
    back: str

    @classmethod
    def begin(cls, now: datetime, *, is_proof: bool, back: str) -> Attempt:
        """A new one, with secrets of its own."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state, nonce, verifier, now.timestamp(), is_proof, back)

    def write(self) -> bytes:
        """As it is kept."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def read(cls, text: bytes, state: str, now: datetime) -> Attempt:
        """The attempt that the provider's answer with this `state` belongs to. Raises `AttemptUnknown`."""
        attempt = cls(**json.loads(text))
        is_late = not 0 <= now.timestamp() - attempt.began_at <= ATTEMPT_LIFE.total_seconds()
        if is_late or not hmac.compare_digest(attempt.state.encode(), state.encode()):
            raise AttemptUnknown
        return attempt


@dataclass(frozen=True)
class Identity:
    """Who the provider says it is, and when that person last proved it there (None: it doesn't say)."""

    email: str
    proved_at: datetime | None


class Provider:
    """The provider that the settings name. One per process; thread-safe."""

    def __init__(self, settings: Settings, outbound: Outbound) -> None:
        self.name, self._issuer, self._client = settings.oidc_name, settings.oidc_issuer, settings.oidc_client_id
        self._secret = settings.oidc_client_secret.get_secret_value() if settings.oidc_client_secret else ""
        self._back_at = f"{settings.base_url}/dashboard/sign-in/oidc/callback"
        self._outbound = outbound
        self._lock = threading.Lock()
        self._known: tuple[float, dict[str, Any]] = (0.0, {})
        self._keys: list[dict[str, Any]] = []

    def sign_in_url(self, attempt: Attempt) -> str:
        """Where the browser goes to sign in; for a proof, to do so anew. Raises `ProviderSilent`."""
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        more: dict[str, Any] = {"prompt": "login", "max_age": 0} if attempt.is_proof else {}
        address: str = prepare_grant_uri(
            self._endpoint("authorization_endpoint"),
            self._client,
            "code",
            redirect_uri=self._back_at,
            scope="openid email",
            state=attempt.state,
            nonce=attempt.nonce,
            code_challenge=create_s256_code_challenge(attempt.verifier),
            code_challenge_method="S256",
            **more,
        )
        return address

    def identify(self, attempt: Attempt, answer: Mapping[str, str], now: datetime) -> Identity:
        """Who came back with `answer`, the query of the callback. Raises the refusals of `portal.operators.errors`."""
        metadata = self._metadata()
        # Whoever answers must be whom we asked (RFC 9207).
        said = answer.get("iss", "" if metadata.get("authorization_response_iss_parameter_supported") else self._issuer)
        if said != self._issuer:
            raise IdentityNotProved(self.name, "it comes from another provider")
        if "error" in answer or not answer.get("code"):
            raise ProviderDeclined(self.name)
        tokens = self._tokens(answer["code"], attempt.verifier)
        claims = self._verified(tokens, attempt, now)
        proved_at = _moment(claims.get("auth_time"))
        if attempt.is_proof and (proved_at is None or proved_at.timestamp() < attempt.began_at - LEEWAY):
            raise IdentityNotProved(self.name, "it doesn’t say that you signed in anew just now")
        return Identity(self._email(claims, tokens), proved_at)

    # What is asked

    def _metadata(self) -> dict[str, Any]:
        """The discovery document (OpenID Connect Discovery 1.0), read once an hour. Raises `ProviderSilent`."""
        with self._lock:
            until, known = self._known
        if time.monotonic() < until:
            return known
        address = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        metadata = self._json(Request("GET", address, {"Accept": "application/json"}), "its description")
        if metadata.get("issuer") != self._issuer:
            raise ProviderSilent(self.name, f"its description: it is of another issuer than {self._issuer}")
        with self._lock:
            self._known = (time.monotonic() + DISCOVERY_LIFE, metadata)
        return metadata

    def _endpoint(self, name: str) -> str:
        """An address of the provider's; as safe as the issuer's own. Raises `ProviderSilent`."""
        address = self._metadata().get(name)
        scheme = "https://" if self._issuer.startswith("https://") else ("http://", "https://")
        if not isinstance(address, str) or not address.startswith(scheme):
            raise ProviderSilent(self.name, f"the address of its {name.replace('_', ' ')}")
        return address

    def _tokens(self, code: str, verifier: str) -> dict[str, Any]:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._back_at}
        form |= {"code_verifier": verifier, "client_id": self._client}
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        ways = self._metadata().get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if "client_secret_basic" in ways:
            pair = f"{quote_plus(self._client)}:{quote_plus(self._secret)}"  # RFC 6749, section 2.3.1
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form["client_secret"] = self._secret
        answer = self._send(Request("POST", self._endpoint("token_endpoint"), headers, urlencode(form).encode()))
        if answer is not None and 400 <= answer.status < 500:
            raise ProviderDeclined(self.name)  # the code was used before, is over, or isn't ours
        return self._read(answer, "a token")

    def _fetch_keys(self) -> list[dict[str, Any]]:
        found = self._json(Request("GET", self._endpoint("jwks_uri"), {"Accept": "application/json"}), "its keys")
        keys = found.get("keys")
        return [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []

    def _json(self, request: Request, what: str) -> dict[str, Any]:
        return self._read(self._send(request), what)

    def _send(self, request: Request) -> Answer | None:
        try:
            return self._outbound.send(request, trusted=True, ceiling=CEILING, largest=LARGEST)
        except NoAnswer:
            return None

    def _read(self, answer: Answer | None, what: str) -> dict[str, Any]:
        try:
            if answer is not None and answer.status == 200 and isinstance(found := answer.json(), dict):
                return found
        except NotJSON:
            pass
        raise ProviderSilent(self.name, what)

    # What is believed

    def _verified(self, tokens: Mapping[str, Any], attempt: Attempt, now: datetime) -> dict[str, Any]:
        """The claims of the ID token (Core 1.0, section 3.1.3.7). Raises `IdentityNotProved`, `ProviderSilent`."""
        from authlib.oidc.core import CodeIDToken
        from joserfc.errors import JoseError

        header, claims = self._signed(str(tokens.get("id_token", "")))
        wanted: Any = {
            "iss": {"essential": True, "value": self._issuer},
            "aud": {"essential": True, "value": self._client},
            "sub": {"essential": True},
            "nonce": {"essential": True, "value": attempt.nonce},
        }
        params = {"nonce": attempt.nonce, "client_id": self._client, "access_token": tokens.get("access_token")}
        token = CodeIDToken(claims, header, wanted, params)
        try:
            token.validate(now=int(now.timestamp()), leeway=LEEWAY)
        except (JoseError, TypeError, ValueError) as problem:
            claim = getattr(problem, "claim", None) or "one of its claims"
            raise IdentityNotProved(self.name, f"“{claim}” isn’t as it must be, or it is too old") from None
        return claims

    def _signed(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Header and claims of a token that a key of the provider's signed; new keys are fetched when they appear."""
        for is_fresh in (False, True):
            if is_fresh or not self._keys:
                self._keys = self._fetch_keys()
            for key in self._keys:
                found = _open(token, key)
                if found is not None:
                    return found
        raise IdentityNotProved(self.name, "its signature isn’t the provider’s")

    def _email(self, claims: dict[str, Any], tokens: Mapping[str, Any]) -> str:
        """The verified address, from the ID token or, where that has none, from the provider's UserInfo."""
        if "email" not in claims and "userinfo_endpoint" in self._metadata():
            headers = {"Authorization": f"Bearer {tokens.get('access_token', '')}", "Accept": "application/json"}
            try:
                request = Request("GET", self._endpoint("userinfo_endpoint"), headers)
            except ValueError:
                raise ProviderSilent(self.name, "your e-mail address") from None
            found = self._json(request, "your e-mail address")
            if found.get("sub") != claims["sub"]:
                raise IdentityNotProved(self.name, "its parts are about two people")
            claims = claims | {name: found.get(name) for name in ("email", "email_verified")}
        email = claims.get("email")
        if not isinstance(email, str) or not email.isprintable() or claims.get("email_verified") is not True:
            raise EmailNotVerified(self.name)
        return spell(email)


def _open(token: str, key: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import import_key

    if key.get("kty") not in _SIGNS or key.get("use", "sig") != "sig":
        return None
    try:
        opened = jwt.decode(token, import_key(key), algorithms=_ALGORITHMS)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return dict(opened.header), dict(opened.claims)


def _moment(seconds: object) -> datetime | None:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return None
