"""A small OpenID provider with a key of its own, over real HTTP, that a test can make lie."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import requests
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "portal at the vendor", "s3cret/with+signs"
Sign = Callable[[dict[str, Any]], str]


@dataclass
class Grant:
    """What stands behind a code that was given out."""

    query: dict[str, str]
    claims: dict[str, Any]


@dataclass
class Behaviour:
    """How the provider behaves; by default as it should."""

    email: str = "ada@vendor.example"
    email_verified: Any = True
    auth_time: float | None = None  # when the person signed in at the provider; None: just now
    claims: dict[str, Any] = field(default_factory=dict)  # in the place of the right ones; None leaves one out
    sign: Sign | None = None
    callback: dict[str, str] = field(default_factory=dict)  # in the place of what goes back to the portal
    discovery: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] | None = None  # set: the ID token has no address, this has
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)  # by path


@cache
def _first_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})


class OpenIdProvider(ThreadingHTTPServer):
    """The provider. `calls` are the paths that were asked for, with what was posted."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.key = _first_key()
        self.behave = Behaviour()
        self.grants: dict[str, Grant] = {}
        self.calls: list[tuple[str, dict[str, str]]] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def approve(self, authorize_url: str) -> str:
        """What the person's browser does there: press the button; gives the address that it is sent back to."""
        query = urlsplit(authorize_url).query
        answer = requests.post(f"{self.url}/approve", data=query, allow_redirects=False, timeout=5,
                               headers={"Content-Type": "application/x-www-form-urlencoded"})  # fmt: skip
        assert answer.status_code == 303, answer.text
        return answer.headers["Location"]

    @property
    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "authorization_response_iss_parameter_supported": True,
            "id_token_signing_alg_values_supported": ["RS256"],
            **self.behave.discovery,
        }

    def grant(self, query: dict[str, str]) -> str:
        """A code for what the browser asked, and what the ID token will say."""
        now = time.time()
        claims = {
            "iss": self.url,
            "aud": query["client_id"],
            "sub": "person-1",
            "exp": int(now) + 300,
            "iat": int(now),
            "nonce": query["nonce"],
            "email": self.behave.email,
            "email_verified": self.behave.email_verified,
        }
        if "max_age" in query or self.behave.auth_time is not None:
            claims["auth_time"] = int(self.behave.auth_time if self.behave.auth_time is not None else now)
        if self.behave.userinfo is not None:
            claims["email"] = claims["email_verified"] = None
        claims = {name: value for name, value in {**claims, **self.behave.claims}.items() if value is not None}
        code = secrets.token_urlsafe(16)
        self.grants[code] = Grant(query, claims)
        return code

    def redeem(self, headers: Any, form: dict[str, str]) -> dict[str, Any] | None:
        """Tokens for a code, once, for who has the secret and the verifier."""
        grant = self.grants.pop(form.get("code", ""), None)
        # As RFC 6749 (section 2.3.1) has it: both halves are form-encoded first.
        pair = urlencode({"": CLIENT})[1:] + ":" + urlencode({"": SECRET})[1:]
        basic = "Basic " + base64.b64encode(pair.encode()).decode()
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        is_known = headers.get("Authorization") == basic or form.get("client_secret") == SECRET
        if (
            grant is None
            or not is_known
            or grant.query["code_challenge_method"] != "S256"
            or grant.query["code_challenge"] != challenge
            or grant.query["redirect_uri"] != form.get("redirect_uri")
        ):
            return None
        sign = self.behave.sign or self.sign
        return {"access_token": "access-1", "token_type": "Bearer", "id_token": sign(grant.claims)}

    def sign(self, claims: dict[str, Any], key: RSAKey | None = None) -> str:
        """As a provider signs."""
        used = key or self.key
        return jwt.encode({"alg": "RS256", "kid": used.kid}, claims, used)


class _Handler(BaseHTTPRequestHandler):
    server: OpenIdProvider

    def do_GET(self) -> None:
        path, query = self._path()
        self.server.calls.append((path, query))
        if path in self.server.behave.answers:
            self._send(*self.server.behave.answers[path])
        elif path == "/.well-known/openid-configuration":
            self._json(self.server.discovery)
        elif path == "/keys":
            self._json({"keys": [self.server.key.as_dict(private=False)]})
        elif path == "/userinfo":
            is_known = self.headers.get("Authorization") == "Bearer access-1"
            self._json(self.server.behave.userinfo if is_known else {}, 200 if is_known else 401)
        elif path == "/authorize":
            fields = "".join(
                f'<input type="hidden" name="{html.escape(n)}" value="{html.escape(v)}">' for n, v in query.items()
            )
            page = f'<!doctype html><html lang="en"><title>Provider</title><h1>The provider</h1><form method="post" action="/approve">{fields}<button>Continue as {self.server.behave.email}</button></form>'  # noqa: E501
            self._send(200, page.encode(), "text/html; charset=utf-8")
        else:
            self._send(404, b"{}")

    def do_POST(self) -> None:
        path, _ = self._path()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self.server.calls.append((path, form))
        if path in self.server.behave.answers:
            self._send(*self.server.behave.answers[path])
        elif path == "/approve":
            back = {"code": self.server.grant(form), "state": form["state"], "iss": self.server.url}
            back = {n: v for n, v in {**back, **self.server.behave.callback}.items() if v}
            self.send_response(303)
            self.send_header("Location", f"{form['redirect_uri']}?{urlencode(back)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path == "/token":
            tokens = self.server.redeem(self.headers, form)
            self._json(tokens or {"error": "invalid_grant"}, 200 if tokens else 400)
        else:
            self._send(404, b"{}")

    def _path(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}

    def _json(self, document: Any, status: int = 200) -> None:
        self._send(status, json.dumps(document).encode())

    def _send(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass
