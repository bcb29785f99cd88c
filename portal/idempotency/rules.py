"""How a call is claimed under its key, answered again, and forgotten after a day."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.idempotency.models import IdempotentCall
from portal.ids import new_id
from portal.keys.ring import KeyRing
from portal.refusals import Refusal

KEPT = timedelta(hours=24)
ABANDONED = timedelta(minutes=1)  # a call without an answer after this long died on its way
LONGEST_KEY = 255
_KEY = re.compile(f"[!-~]{{1,{LONGEST_KEY}}}")


class BadIdempotencyKey(Refusal):
    """The key is empty, too long or not plain text."""

    title = "This can’t be an idempotency key"

    def message(self) -> str:
        return f"`Idempotency-Key` is 1 to {LONGEST_KEY} visible ASCII characters without spaces; a UUID is a good one."


class KeyUsedOtherwise(Refusal):
    """The key came before with another call."""

    status = 409
    title = "This key was used for another call"

    def message(self) -> str:
        return "This `Idempotency-Key` came with another path or body before. Use a new key for each new call."


class StillUnderWay(Refusal):
    """The same call was sent a moment ago and isn't answered yet."""

    status = 409
    title = "This call is still under way"
    retry_after = 1

    def message(self) -> str:
        return "The same call is being worked on right now. Send it again in a moment for its answer."


@dataclass(frozen=True)
class Answer:
    """What was answered the first time."""

    status: int
    body: bytes


def fingerprint(method: str, path: str, body: bytes) -> str:
    """What tells one call from another."""
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).hexdigest()


def claim(session: Session, keys: KeyRing, key: str, call: str, now: datetime) -> str | Answer:
    """Claim `key` for the call with this fingerprint: the claim's id when it is new, else its answer.

    Raises `BadIdempotencyKey`, `KeyUsedOtherwise`, `StillUnderWay`, and the database's IntegrityError when another
    request claimed the key at this very moment.
    """
    if not _KEY.fullmatch(key):
        raise BadIdempotencyKey
    key_hash = hashlib.sha256(key.encode()).hexdigest()
    known = session.scalar(sa.select(IdempotentCall).where(IdempotentCall.key_hash == key_hash))
    if known is not None and known.created_at < now - (KEPT if known.status else ABANDONED):
        session.delete(known)
        session.flush()
        known = None
    if known is None:
        row = IdempotentCall(id=new_id(), key_hash=key_hash, fingerprint=call, created_at=now)
        session.add(row)
        session.flush()
        return row.id
    if known.fingerprint != call:
        raise KeyUsedOtherwise
    if known.status is None or known.sealed is None:
        raise StillUnderWay
    return Answer(known.status, keys.open(known.sealed, known.id))


def keep_answer(session: Session, keys: KeyRing, claim_id: str, answer: Answer) -> None:
    """Keep what the claimed call was answered."""
    session.execute(
        sa.update(IdempotentCall)
        .where(IdempotentCall.id == claim_id)
        .values(status=answer.status, sealed=keys.seal(answer.body, claim_id))
    )


def give_back(session: Session, claim_id: str) -> None:
    """Forget a claim whose call made nothing, so that it can be mended and sent again."""
    session.execute(sa.delete(IdempotentCall).where(IdempotentCall.id == claim_id))


def reseal_answers(session: Session, keys: KeyRing) -> None:
    """Seal every kept answer anew with the newest key."""
    for call in session.scalars(sa.select(IdempotentCall).where(IdempotentCall.sealed.is_not(None))):
        if call.sealed is not None:
            call.sealed = keys.seal(keys.open(call.sealed, call.id), call.id)


def forget_old(session: Session, now: datetime) -> None:
    """Delete what is older than a day."""
    session.execute(
        sa.delete(IdempotentCall)
        .where(IdempotentCall.created_at < now - KEPT)
        .execution_options(synchronize_session=False)
    )
