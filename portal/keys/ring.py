"""The key ring: four kinds of keys, from the settings or from files of mode 0600 in the data folder."""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import tink
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook
from tink import aead, secret_key_access

from portal.keys.reading import split_keys
from portal.settings import MissingSetting, Settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

T = TypeVar("T")

aead.register()


class SealBroken(Exception):
    """A sealed value can't be opened: it was altered, belongs to another row, or its key is gone."""


class _Source(Generic[T]):
    """One secret: given in the settings, or kept in a file that is read again when it changes."""

    def __init__(
        self,
        setting: str,
        given: SecretStr | None,
        path: Path,
        make: Callable[[], str],
        parse: Callable[[str], T],
    ) -> None:
        self.setting, self.given, self.path, self.make, self.parse = setting, given, path, make, parse
        self._stamp: tuple[int, int] | None = None
        self._look_at = 0.0
        self._lock = threading.Lock()
        self._value: T

    def exists(self) -> bool:
        return self.given is not None or self.path.exists()

    def text(self) -> str:
        return self.given.get_secret_value() if self.given is not None else self.path.read_text("utf-8")

    def value(self) -> T:
        """The parsed secret. Whether another process rotated its file is looked at once a second."""
        now = time.monotonic()
        if now >= self._look_at:
            self.refresh()
            self._look_at = now + 1
        return self._value

    def refresh(self) -> bool:
        """Read the file again if it has changed; True when it had."""
        stamp = (0, 0)
        if self.given is None:
            facts = self.path.stat()
            stamp = (facts.st_mtime_ns, facts.st_ino)
        if stamp == self._stamp:
            return False
        with self._lock:
            try:
                self._value = self.parse(self.text())
            except MissingSetting:
                raise
            except Exception as error:
                raise MissingSetting(
                    f"{self.setting} can't be read as what it should be: {type(error).__name__}."
                ) from None
            self._stamp = stamp
        return True

    def create(self) -> None:
        if not self.exists():
            self.write(self.make())

    def write(self, text: str) -> None:
        """Replace the file as a whole, readable by its owner alone."""
        if self.given is not None:
            raise MissingSetting(f"{self.setting} is given in the environment: rotate it where it is kept.")
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path)
        self._look_at = 0.0


def _new_keyset() -> str:
    return _dump(tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM))


def _dump(handle: tink.KeysetHandle) -> str:
    return str(tink.json_proto_keyset_format.serialize(handle, secret_key_access.TOKEN))


def _parse_keyset(text: str) -> aead.Aead:
    handle: tink.KeysetHandle = tink.json_proto_keyset_format.parse(text, secret_key_access.TOKEN)
    return handle.primitive(aead.Aead)


def _new_link_key() -> str:
    return secrets.token_urlsafe(32)


def _parse_list(text: str) -> list[str]:
    keys = [key for key in text.replace(",", "\n").split() if key]
    if not keys:
        raise MissingSetting("A list of keys is empty: give at least one.")
    return keys


def _new_rsa_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _parse_rsa_keys(text: str) -> list[rsa.RSAPrivateKey]:
    keys = [serialization.load_pem_private_key(pem.encode(), password=None) for pem in split_keys(text)]
    if not keys or not all(isinstance(key, rsa.RSAPrivateKey) for key in keys):
        raise MissingSetting("PORTAL_WEBHOOK_PRIVATE_KEY must be an RSA private key (or two, one after another).")
    return [key for key in keys if isinstance(key, rsa.RSAPrivateKey)]


def _public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _new_webhook_secret() -> str:
    return "whsec_" + b64encode(secrets.token_bytes(32)).decode()


class KeyRing:
    """All keys of one portal. Thread-safe; rotation by another process is picked up at the next use."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.instance / "keys"
        self._seal = _Source(
            "PORTAL_CREDENTIAL_KEYSET",
            settings.credential_keyset,
            folder / "credentials.json",
            _new_keyset,
            _parse_keyset,
        )
        self._links = _Source("PORTAL_LINK_KEYS", settings.link_keys, folder / "links.txt", _new_link_key, _parse_list)
        self._rsa = _Source(
            "PORTAL_WEBHOOK_PRIVATE_KEY",
            settings.webhook_private_key,
            folder / "webhook.pem",
            _new_rsa_key,
            _parse_rsa_keys,
        )
        self._secrets = _Source(
            "PORTAL_WEBHOOK_SECRETS",
            settings.webhook_secrets,
            folder / "webhook-secrets.txt",
            _new_webhook_secret,
            _parse_list,
        )

    @property
    def _all(
        self,
    ) -> tuple[_Source[aead.Aead], _Source[list[str]], _Source[list[rsa.RSAPrivateKey]], _Source[list[str]]]:
        return self._seal, self._links, self._rsa, self._secrets

    def create_missing(self) -> None:
        """Make the keys that are neither given nor there yet."""
        for source in self._all:
            source.create()

    def require_all(self) -> None:
        """Raises `MissingSetting` that names every secret that is neither given nor in the data folder."""
        missing = [source.setting for source in self._all if not source.exists()]
        if missing:
            raise MissingSetting(
                f"Set {', '.join(missing)} (or run `flask keys create` once to make them in the data folder): "
                "in production no secret is made up on the way."
            )
        for source in self._all:
            source.value()

    # What is sealed

    def seal(self, clear: bytes, row_id: str) -> bytes:
        """Encrypt `clear` for the row `row_id`; it can't be opened as another row's."""
        return bytes(self._seal.value().encrypt(clear, row_id.encode()))

    def open(self, sealed: bytes, row_id: str) -> bytes:
        """Decrypt what `seal` made for the same row. Raises `SealBroken`."""
        for is_last in (False, True):
            try:
                return bytes(self._seal.value().decrypt(sealed, row_id.encode()))
            except tink.TinkError:
                # It may have been sealed a moment ago, by another process, with a key made a moment before that.
                if is_last or not self._seal.refresh():
                    break
        raise SealBroken(f"the sealed value of {row_id} can't be opened")

    # What is signed

    @property
    def link_keys(self) -> list[str]:
        """Keys that links may be signed with, oldest first; the last one signs."""
        return self._links.value()

    def refresh_link_keys(self) -> bool:
        """Look now whether another process made a new key; True when one did."""
        return self._links.refresh()

    @property
    def public_key_pem(self) -> bytes:
        """The public half of the RSA key that signs, PEM (SubjectPublicKeyInfo)."""
        return _public_pem(self._rsa.value()[0])

    @property
    def public_keys_pem(self) -> bytes:
        """The public halves of all RSA keys in force: the one that signs, then the one that will, if it's announced."""
        return b"".join(_public_pem(key) for key in self._rsa.value())

    @property
    def is_changing(self) -> bool:
        """Whether a new RSA key is announced that doesn't sign yet."""
        return len(self._rsa.value()) > 1

    @property
    def webhook_secrets(self) -> list[str]:
        """Standard Webhooks secrets, oldest first; each one signs."""
        return self._secrets.value()

    def sign_rsa(self, message: bytes) -> str:
        """Lower-case hex of an RSA signature of `message`: SHA-256, PKCS#1 v1.5."""
        return self._rsa.value()[0].sign(message, padding.PKCS1v15(), hashes.SHA256()).hex()

    def webhooks(self) -> list[Webhook]:
        """A Standard Webhooks signer for each secret."""
        return [Webhook(secret) for secret in self.webhook_secrets]

    # Rotation

    def add_keys(self) -> None:
        """Make a new key that seals and one that signs links; the old ones still open and verify."""
        _add_seal_key(self._seal)
        self._links.write("\n".join([*self.link_keys, _new_link_key()]))

    def drop_old_seal_keys(self) -> None:
        """Forget the keys that seal nothing any more; call it when every row was sealed anew."""
        keyset = json.loads(self._seal.text())
        keyset["key"] = [key for key in keyset["key"] if key["keyId"] == keyset["primaryKeyId"]]
        self._seal.write(json.dumps(keyset))

    def require_no_change(self) -> None:
        """Raises `MissingSetting` while a new webhook key is announced: one change at a time."""
        if self.is_changing:
            raise MissingSetting(
                "A new webhook key is announced already. Run `flask keys switch` once every endpoint knows it."
            )

    def rotate_webhook_keys(self) -> None:
        """Begin a change: announce a new RSA key, and let a new webhook secret sign beside the last one.

        Until `switch_webhook_keys`, what endpoints have verifies as before.
        """
        self.require_no_change()
        self._rsa.write(self._rsa.text().rstrip() + "\n" + _new_rsa_key())
        self._secrets.write("\n".join([self.webhook_secrets[-1], _new_webhook_secret()]))

    def switch_webhook_keys(self) -> None:
        """End a change: the announced RSA key signs; the old one and the old webhook secret are forgotten.

        Raises `MissingSetting` when no new key was announced.
        """
        if not self.is_changing:
            raise MissingSetting("No new webhook key is announced. Run `flask keys rotate --webhooks` first.")
        self._rsa.write(split_keys(self._rsa.text())[-1])
        self._secrets.write(self.webhook_secrets[-1])


def _add_seal_key(source: _Source[aead.Aead]) -> None:
    keyset, fresh = json.loads(source.text()), json.loads(_new_keyset())
    keyset["key"] += fresh["key"]
    keyset["primaryKeyId"] = fresh["primaryKeyId"]
    source.write(json.dumps(keyset))


def keys_of(session: Session) -> KeyRing:
    """The keys of the session's portal, for rules."""
    found: KeyRing = session.info["keys"]
    return found
