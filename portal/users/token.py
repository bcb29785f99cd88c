"""User tokens: what a vendor's backend gives to its own page, so that a browser acts for one user, for one hour."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from itsdangerous import BadSignature, SignatureExpired, TimestampSigner

from portal.environments import Environment
from portal.languages import sentence
from portal.refusals import Refusal

LIFE = timedelta(hours=1)
LONGEST = 512
_SALT = b"user-token"  # a key of its own is derived with it: no other token of ours passes for one
_CODES = {Environment.development: "d", Environment.production: "p"}
_PAYLOAD = re.compile(r"([dp])([0-9a-f]{24})")


class UserTokenUnknown(Refusal):
    """Not a user token of ours."""

    status = 404
    title = sentence("This window can’t be shown")

    def message(self) -> str:
        return sentence("The page that opened it sent no valid token. Close it, reload the page, and try again.")


class UserTokenExpired(Refusal):
    """The token's hour is over."""

    status = 410
    title = sentence("This window was open for too long")

    def message(self) -> str:
        return sentence("It can be used for an hour. Close it, reload the page that opened it, and try again.")


@dataclass(frozen=True)
class TokenUser:
    """For whom a token speaks, and until when."""

    user_id: str
    environment: Environment
    expires_at: datetime


def _signer(keys: Sequence[str]) -> TimestampSigner:
    return TimestampSigner(list(keys), salt=_SALT, key_derivation="hmac", digest_method=hashlib.sha256)


def write_user_token(keys: Sequence[str], user_id: str, environment: Environment) -> str:
    """A token for one user, signed with the newest (last) of `keys`."""
    return _signer(keys).sign(_CODES[environment] + user_id).decode("ascii")


def read_user_token(keys: Sequence[str], token: str) -> TokenUser:
    """For whom the token speaks. Raises `UserTokenExpired`, and `UserTokenUnknown` for everything else."""
    if len(token) > LONGEST or not token.isascii():
        raise UserTokenUnknown
    try:
        payload, signed_at = _signer(keys).unsign(token, max_age=int(LIFE.total_seconds()), return_timestamp=True)
    except SignatureExpired:
        raise UserTokenExpired from None
    except BadSignature:
        raise UserTokenUnknown from None
    facts = _PAYLOAD.fullmatch(payload.decode("ascii", "replace"))
    if facts is None:
        raise UserTokenUnknown
    environment = next(e for e, code in _CODES.items() if code == facts[1])
    return TokenUser(facts[2], environment, signed_at.astimezone(UTC) + LIFE)
