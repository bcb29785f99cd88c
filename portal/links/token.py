"""The signed token of a link: `payload.timestamp.signature`, each part base64url. It only keeps strangers out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from itsdangerous import BadSignature, TimestampSigner
from itsdangerous.encoding import base64_decode, base64_encode

LONGEST = 1024


class NotOurToken(Exception):
    """The token was not made by this portal, or not left as it was made."""


@dataclass(frozen=True)
class Claims:
    """What a token says of its link."""

    link_id: str
    integration_id: str
    always_show_credentials: bool


@lru_cache(maxsize=8)
def _signer(keys: tuple[str, ...]) -> TimestampSigner:
    return TimestampSigner(list(keys), salt=b"portal.install-link", key_derivation="hmac", digest_method=hashlib.sha256)


def write_token(keys: Sequence[str], claims: Claims) -> str:
    """Sign `claims` with the newest (last) of `keys`."""
    facts = {"l": claims.link_id, "i": claims.integration_id, "c": int(claims.always_show_credentials)}
    payload = base64_encode(json.dumps(facts, separators=(",", ":")))
    return _signer(tuple(keys)).sign(payload).decode("ascii")


def read_token(keys: Sequence[str], token: str) -> Claims:
    """The claims of a token that one of `keys` signed. Raises `NotOurToken` for anything else, whatever it is."""
    if len(token) > LONGEST or not token.isascii():
        raise NotOurToken
    try:
        payload = _signer(tuple(keys)).unsign(token)
        facts = json.loads(base64_decode(payload))
        return Claims(facts["l"], facts["i"], bool(facts["c"]))
    except (BadSignature, ValueError, KeyError, TypeError):
        raise NotOurToken from None


def hash_token(token: str) -> str:
    """What the database keeps of a token: its SHA-256 in hex."""
    return hashlib.sha256(token.encode()).hexdigest()
