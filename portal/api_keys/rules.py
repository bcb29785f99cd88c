"""How API keys are made, recognised and revoked."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.api_keys.models import ApiKey, ApiKeyState
from portal.environments import Environment
from portal.refusals import Refusal, Unknown

_PREFIX = {Environment.development: "portal_dev_", Environment.production: "portal_live_"}
_SHOWN = 6  # characters of the secret part that stay visible
NOTED_EVERY = timedelta(minutes=1)


class UnknownApiKey(Unknown):
    """No API key by that id or prefix."""

    title = "No such API key"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no API key “{name}”. `flask api-key list` shows them.")


class BadApiKeyName(Refusal):
    """A name is 1 to 120 visible characters."""

    title = "This can’t be a name"


def _hash(key: str) -> str:
    # 256 random bits need no slow hash: there is nothing to guess.
    return hashlib.sha256(key.encode()).hexdigest()


def create_api_key(session: Session, name: str, *, environment: Environment, now: datetime) -> tuple[ApiKey, str]:
    """Make a key; it is given out this once, only its hash is stored. Raises `BadApiKeyName`."""
    name = name.strip()
    if not 1 <= len(name) <= 120 or not name.isprintable():
        raise BadApiKeyName("A key's name has 1 to 120 visible characters: say who uses it, such as “billing server”.")
    key = _PREFIX[environment] + secrets.token_urlsafe(32)
    row = ApiKey(
        environment=environment,
        name=name,
        prefix=key[: len(_PREFIX[environment]) + _SHOWN],
        key_hash=_hash(key),
        created_at=now,
    )
    session.add(row)
    session.flush()
    return row, key


# Built once: it is on the way of every call.
_RECOGNISE = sa.select(ApiKey.id, ApiKey.environment, ApiKey.prefix, ApiKey.last_used_at, ApiKey.name).where(
    ApiKey.key_hash == sa.bindparam("hash"), ApiKey.revoked_at.is_(None)
)


@dataclass(frozen=True)
class KnownKey:
    """What a call needs to know of the key that it came with."""

    id: str
    environment: Environment
    prefix: str
    last_used_at: datetime | None
    name: str


def recognise(connection: sa.Connection, key: str) -> KnownKey | None:
    """The key, when it may be used; None for every other text."""
    row = connection.execute(_RECOGNISE, {"hash": _hash(key)}).one_or_none()
    return KnownKey(*row) if row else None


def note_used(session: Session, key_id: str, now: datetime) -> None:
    """Remember that the key was used just now."""
    session.execute(sa.update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=now))


def select_api_keys(state: ApiKeyState | None = None) -> sa.Select[ApiKey]:
    """The keys of the session's environment, in this state."""
    statement = sa.select(ApiKey)
    if state is None:
        return statement
    is_in_use = ApiKey.revoked_at.is_(None)
    return statement.where(is_in_use if state is ApiKeyState.in_use else ApiKey.revoked_at.is_not(None))


def find_api_key(session: Session, name: str) -> ApiKey:
    """The key with this id or visible prefix. Raises `UnknownApiKey`."""
    found = session.scalars(sa.select(ApiKey).where(sa.or_(ApiKey.id == name, ApiKey.prefix == name)).limit(2)).all()
    if len(found) != 1:
        raise UnknownApiKey(name)
    return found[0]


def revoke_api_key(session: Session, key: ApiKey, now: datetime) -> None:
    """End a key for good, from the next request on; revoking twice changes nothing."""
    key.revoked_at = key.revoked_at or now
    session.flush()
