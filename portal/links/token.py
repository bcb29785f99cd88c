"""The signed token of a link: `payload.timestamp.signature`, each part base64url. It only keeps strangers out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from itsdangerous import BadData, TimestampSigner
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
    # The keys are 256 random bits that sign nothing else, so none has to be derived from them.
    return TimestampSigner(list(keys), key_derivation="none", digest_method=hashlib.sha256)


_PAYLOAD = re.compile(r"([0-9a-f]{24})([0-9a-f]{24})([01])")


def write_token(keys: Sequence[str], claims: Claims) -> str:
    """Sign `claims` with the newest (last) of `keys`."""
    payload = f"{claims.link_id}{claims.integration_id}{claims.always_show_credentials:d}"
    return _signer(tuple(keys)).sign(base64_encode(payload)).decode("ascii")


def read_token(keys: Sequence[str], token: str) -> Claims:
    """The claims of a token that one of `keys` signed. Raises `NotOurToken` for anything else, whatever it is."""
    if len(token) > LONGEST or not token.isascii():
        raise NotOurToken
    try:
        payload = base64_decode(_signer(tuple(keys)).unsign(token)).decode("ascii")
    except (BadData, ValueError):
        raise NotOurToken from None
    claims = _PAYLOAD.fullmatch(payload)
    if claims is None:
        raise NotOurToken
    return Claims(claims[1], claims[2], claims[3] == "1")


def hash_token(token: str) -> str:
    """What the database keeps of a token: its SHA-256 in hex."""
    return hashlib.sha256(token.encode()).hexdigest()
