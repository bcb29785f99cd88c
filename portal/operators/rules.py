"""How operators are invited, sign in by a link that works once, and are signed out."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from portal.db import changes_one
from portal.environments import Environment
from portal.letters import small
from portal.operators.errors import (
    BadEmail,
    DomainNotAllowed,
    InvitationUnusable,
    LastAdmin,
    NotInvited,
    OtherPerson,
    UnknownOperator,
)
from portal.operators.models import Invitation, Operator, OperatorSession, Role
from portal.settings import Settings

INVITATION_LIFE = timedelta(hours=1)
SESSION_LIFE = timedelta(days=14)  # from the sign-in on, however often it is used: a stolen cookie ends as well
SEEN_EVERY = timedelta(minutes=1)
PROOF_LIFE = timedelta(minutes=15)
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")


def spell(email: str) -> str:
    """An address as it is kept: without blanks around it, in lower case.

    Of capitals only those of ASCII: the Kelvin sign, for one, would become the k of somebody else's address.
    """
    return small(email.strip())


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def invite(session: Session, email: str, role: Role | None, now: datetime) -> tuple[Operator, str]:
    """A sign-in link's token for an operator, who is made if need be; it is given out this once.

    Without a role, a newcomer is a member, and who is known keeps theirs. Raises `BadEmail`, `LastAdmin`.
    """
    email = spell(email)
    if not _EMAIL.fullmatch(email):
        raise BadEmail(email)
    operator = session.scalar(sa.select(Operator).where(Operator.email == email))
    if operator is None:
        operator = Operator(email=email, role=role or Role.member, created_at=now)
        session.add(operator)
    elif role is not None and role is not operator.role:
        _require_other_admin(session, operator)
        operator.role = role
    session.flush()
    token = secrets.token_urlsafe(32)
    session.add(
        Invitation(operator_id=operator.id, token_hash=_hash(token), created_at=now, expires_at=now + INVITATION_LIFE)
    )
    session.flush()
    return operator, token


def _require_other_admin(session: Session, operator: Operator) -> None:
    """Raises `LastAdmin` when nobody but `operator` is an administrator: then nobody could give the role any more."""
    # Locked, so that two administrators can't take the role from each other at once.
    admins = session.scalars(sa.select(Operator.id).where(Operator.role == Role.admin).with_for_update()).all()
    if list(admins) == [operator.id]:
        raise LastAdmin(operator.email)


def sign_in_url(base_url: str, token: str) -> str:
    """The sign-in link as it is handed out."""
    return f"{base_url}/dashboard/sign-in?token={token}"


def find_invitation(session: Session, token: str, now: datetime) -> Invitation:
    """The invitation that can still be used. Raises `InvitationUnusable`."""
    found = session.scalar(
        sa.select(Invitation).where(Invitation.token_hash == _hash(token)).options(joinedload(Invitation.operator))
    )
    if found is None or found.used_at is not None or found.expires_at <= now:
        raise InvitationUnusable
    return found


def sign_in(session: Session, token: str, *, browser: str, now: datetime) -> tuple[OperatorSession, str]:
    """Use an invitation up and start a session; its token is for the cookie. Raises `InvitationUnusable`."""
    invitation = find_invitation(session, token, now)
    _use(session, invitation, now)
    return start_session(session, invitation.operator, browser=browser, now=now)


def _use(session: Session, invitation: Invitation, now: datetime) -> None:
    unused = Invitation.id == invitation.id, Invitation.used_at.is_(None)
    if not changes_one(session, sa.update(Invitation).where(*unused).values(used_at=now)):
        raise InvitationUnusable


def start_session(
    session: Session, operator: Operator, *, browser: str, now: datetime, proved_at: datetime | None = None
) -> tuple[OperatorSession, str]:
    """Start a session of somebody who has proved who they are, by default just now."""
    token = secrets.token_urlsafe(32)
    row = OperatorSession(
        operator=operator,
        token_hash=_hash(token),
        csrf=secrets.token_urlsafe(24),
        environment=Environment.production,
        browser=browser[:200],
        created_at=now,
        seen_at=now,
        proved_at=min(proved_at or now, now),
    )
    session.add(row)
    session.flush()
    return row, token


def find_session(session: Session, token: str, now: datetime) -> OperatorSession | None:
    """The session that the cookie's token stands for, if it goes on; notes that it was seen."""
    found = session.scalar(
        sa.select(OperatorSession)
        .where(
            OperatorSession.token_hash == _hash(token),
            OperatorSession.ended_at.is_(None),
            OperatorSession.created_at > now - SESSION_LIFE,
        )
        .options(joinedload(OperatorSession.operator))
    )
    if found is not None and found.seen_at < now - SEEN_EVERY:
        found.seen_at = now
    return found


def select_open_sessions(operator_id: str, now: datetime) -> sa.Select[OperatorSession]:
    """Where an operator is signed in."""
    return sa.select(OperatorSession).where(
        OperatorSession.operator_id == operator_id,
        OperatorSession.ended_at.is_(None),
        OperatorSession.created_at > now - SESSION_LIFE,
        OperatorSession.seen_at > now - SESSION_LIFE,  # follows, and is what the index begins at
    )


def end_session(session: Session, operator_id: str, session_id: str, now: datetime) -> None:
    """Sign one of an operator's browsers out."""
    session.execute(
        sa.update(OperatorSession)
        .where(OperatorSession.id == session_id, OperatorSession.operator_id == operator_id)
        .values(ended_at=now)
    )


def has_proved(row: OperatorSession, now: datetime) -> bool:
    """Whether the operator proved who they are lately enough for what is dangerous."""
    return row.proved_at > now - PROOF_LIFE


def prove_again(session: Session, session_id: str, operator: Operator, proved_at: datetime) -> None:
    """Note that who is signed in has proved it again. Raises `OtherPerson` when it was somebody else."""
    row = session.get_one(OperatorSession, session_id)
    if row.operator_id != operator.id:
        raise OtherPerson
    row.proved_at = max(row.proved_at, proved_at)


def prove_by_invitation(session: Session, session_id: str, token: str, now: datetime) -> None:
    """The same by a sign-in link, which is used up. Raises `InvitationUnusable`, `OtherPerson`."""
    invitation = find_invitation(session, token, now)
    prove_again(session, session_id, invitation.operator, now)
    _use(session, invitation, now)


def admit(session: Session, email: str, settings: Settings, now: datetime) -> tuple[Operator, bool]:
    """The operator with this address, which a provider has verified, and whether they come for the first time.

    Newcomers are let in with the role of the settings, if any. Raises `BadEmail`, `DomainNotAllowed`, `NotInvited`.
    """
    if not _EMAIL.fullmatch(email):
        raise BadEmail(email)
    if settings.oidc_domains and email.rpartition("@")[2] not in settings.oidc_domains:
        raise DomainNotAllowed(email)
    known = session.scalar(sa.select(Operator).where(Operator.email == email))
    if known is not None:
        return known, False
    if not settings.oidc_role:
        raise NotInvited(email)
    newcomer = Operator(email=email, role=Role(settings.oidc_role), created_at=now)
    session.add(newcomer)
    session.flush()
    return newcomer, True


def remove_operator(session: Session, email: str) -> None:
    """Take an operator's access away, everywhere. Raises `UnknownOperator`, `LastAdmin`."""
    operator = session.scalar(sa.select(Operator).where(Operator.email == spell(email)))
    if operator is None:
        raise UnknownOperator(email)
    _require_other_admin(session, operator)
    session.delete(operator)
    session.flush()
