"""How credentials are tested, sealed, kept as drafts, offered again and made to count."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.catalogue import App, Reason, Rejected, build_request, read_account, sentence_for
from portal.credentials.models import Credential
from portal.environments import Environment
from portal.http import NoAnswer, Outbound, Problem
from portal.ids import new_id
from portal.keys.ring import KeyRing
from portal.refusals import Unknown

TEST_CEILING = 15.0  # seconds for one test of a credential


class ConnectionFailed(Exception):
    """A credential did not pass its test. `field` is where the sentence belongs; None: at the app's section."""

    def __init__(self, app: App, reason: Reason | Problem, message: str, field: str | None) -> None:
        super().__init__(message)
        self.app, self.reason, self.message, self.field = app, reason, message, field


@dataclass(frozen=True)
class Tested:
    """Values that passed their app's test (or can't be tested), and whose account they open."""

    app: str
    values: Mapping[str, str]
    account: str


def test_connection(outbound: Outbound, app: App, values: Mapping[str, str]) -> Tested:
    """Ask the app's provider whether `values` hold; calls out, so never inside a transaction.

    Raises `ConnectionFailed` with the sentence for the person who typed them. An app that declares no test is
    taken as it is (its page says so).
    """
    if app.test is None:
        return Tested(app.name, values, app.title)
    request = build_request(app, values)
    try:
        answer = outbound.send(request, ceiling=TEST_CEILING)
        account = read_account(app, answer, request.url, values)
    except NoAnswer as silence:
        reason: Reason | Problem = silence.problem
        message: str = sentence_for(app, reason, silence.host)
    except Rejected as rejection:
        reason, message = rejection.reason, rejection.message
    else:
        return Tested(app.name, values, account.name[:255])
    field = app.field_for(reason)
    raise ConnectionFailed(app, reason, message, field.name if field else None)


class UnknownCredential(Unknown):
    """The user has no credential by that id."""

    title = "No such credential"

    def __init__(self, credential_id: str) -> None:
        super().__init__(
            f"The user has no credential “{credential_id}”. GET /users/{{userId}}/credentials lists what there is."
        )


def keep_tested(
    session: Session,
    keys: KeyRing,
    tested: Tested,
    *,
    environment: Environment,
    user_id: str,
    link_id: str | None,
    now: datetime,
) -> Credential:
    """Keep tested values, sealed: as the link's draft for their app (an earlier one is replaced), or for good."""
    if link_id is not None:
        drop_draft(session, link_id, tested.app)
    draft_id = new_id()
    draft = Credential(
        id=draft_id,
        environment=environment,
        user_id=user_id,
        app=tested.app,
        account=tested.account,
        sealed=keys.seal(json.dumps(dict(tested.values)).encode(), draft_id),
        link_id=link_id,
        created_at=now,
        updated_at=now,
        tested_at=now,
    )
    session.add(draft)
    session.flush()
    return draft


def drop_draft(session: Session, link_id: str, app: str) -> None:
    """Forget the link's draft for one app."""
    session.execute(
        sa.delete(Credential)
        .where(Credential.link_id == link_id, Credential.app == app)
        .execution_options(synchronize_session=False)
    )


def drop_drafts(session: Session, link_id: str) -> None:
    """Forget every draft of a link: they die with it."""
    session.execute(
        sa.delete(Credential).where(Credential.link_id == link_id).execution_options(synchronize_session=False)
    )


def open_values(keys: KeyRing, credential: Credential) -> dict[str, str]:
    """The clear values. Raises `SealBroken`."""
    values: dict[str, str] = json.loads(keys.open(credential.sealed, credential.id))
    return values


def credentials_at_hand(session: Session, link_id: str, user_id: str, apps: list[str]) -> list[Credential]:
    """The link's drafts and the user's credentials for `apps`, newest first."""
    return list(session.scalars(_at_hand(), {"link": link_id, "user": user_id, "apps": apps}))


@cache
def _at_hand() -> sa.Select[Credential]:
    link_id, user_id = sa.bindparam("link", type_=sa.String), sa.bindparam("user", type_=sa.String)
    is_theirs = sa.or_(Credential.link_id.is_(None), Credential.link_id == link_id)
    apps = sa.bindparam("apps", type_=sa.String, expanding=True)
    wanted = sa.select(Credential).where(Credential.user_id == user_id, Credential.app.in_(apps), is_theirs)
    return wanted.order_by(Credential.created_at.desc())


def credentials_of(session: Session, user_id: str) -> list[Credential]:
    """The user's credentials (no drafts), oldest first."""
    return list(
        session.scalars(
            sa.select(Credential)
            .where(Credential.user_id == user_id, Credential.link_id.is_(None))
            .order_by(Credential.created_at, Credential.id)
        )
    )


def find_credential(session: Session, user_id: str, credential_id: str) -> Credential:
    """One of the user's credentials. Raises `UnknownCredential`."""
    found = session.get(Credential, credential_id)
    if found is None or found.user_id != user_id or found.is_draft:
        raise UnknownCredential(credential_id)
    return found


def activate(session: Session, credentials: Iterable[Credential], now: datetime) -> None:
    """Make those that are drafts count: they no longer hang on their link."""
    for credential in credentials:
        if credential.is_draft:
            credential.link_id, credential.updated_at = None, now
    session.flush()


def note_tested(session: Session, credential_id: str, account: str, now: datetime) -> None:
    """Remember that a credential passed its test just now, and what its account is called today."""
    session.execute(
        sa.update(Credential)
        .where(Credential.id == credential_id)
        .values(tested_at=now, account=account, broken_at=None, broken_because=None)
    )


def reseal_all(session: Session, keys: KeyRing) -> int:
    """Seal every credential anew with the newest key; returns how many."""
    count = 0
    for credential in session.scalars(sa.select(Credential).with_for_update().execution_options(yield_per=500)):
        credential.sealed = keys.seal(keys.open(credential.sealed, credential.id), credential.id)
        count += 1
    return count
