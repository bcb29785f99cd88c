"""Who calls, and what of the database that opens. Every route wants an API key unless it is open to user tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import current_app, g, request
from sqlalchemy.orm import Session

from portal.api_keys.rules import NOTED_EVERY, note_used, recognise
from portal.audit.rules import write_down
from portal.clock import now
from portal.db import reading, transaction
from portal.environments import Environment
from portal.keys.ring import KeyRing
from portal.refusals import Refusal
from portal.users.models import User
from portal.users.rules import UnknownUser, find_user
from portal.users.token import UserTokenExpired, UserTokenUnknown, read_user_token

TOKEN_HEADER = "x-alloy-user-token"  # noqa: S105 - a header's name

View = TypeVar("View", bound=Callable[..., Any])


class Unauthorized(Refusal):
    """No key, or none that may do this. The clients expect this very word."""

    status = 401
    title = "Unauthorized"

    def message(self) -> str:
        return "Unauthorized"


class UserMissing(Refusal):
    """A call with an API key has to say for which user it is."""

    status = 404
    title = "Which user?"

    def message(self) -> str:
        return "Say for which user: send `userId`, the id or the username."


@dataclass(frozen=True)
class Caller:
    """Who calls: a backend with its key, or a browser for one user.

    `name` is for logs and counting, `actor` for people who read the audit log.
    """

    environment: Environment
    name: str
    actor: str
    user_id: str | None = None


def open_to_users(view: View) -> View:
    """Let a route be called with a user token as well; it then acts for that user alone."""
    view.is_open_to_users = True  # type: ignore[attr-defined]
    return view


def is_open_to_users(endpoint: str | None) -> bool:
    """Whether the route may be called with a user token."""
    return bool(getattr(current_app.view_functions.get(endpoint or ""), "is_open_to_users", False))


def identify() -> Caller:
    """The caller of the current request. Raises `Unauthorized`."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme:
        if scheme.lower() != "bearer":
            raise Unauthorized
        return _backend(key.strip())
    token = request.headers.get(TOKEN_HEADER, "")
    if not token or not is_open_to_users(request.endpoint):
        raise Unauthorized
    return _browser(token)


def _backend(key: str) -> Caller:
    with reading() as connection:
        known = recognise(connection, key)
    if known is None:
        raise Unauthorized
    if known.last_used_at is None or known.last_used_at < now() - NOTED_EVERY:
        with transaction() as session:
            note_used(session, known.id, now())
    return Caller(known.environment, known.prefix, f"{known.name} ({known.prefix})")


def _browser(token: str) -> Caller:
    keys: KeyRing = current_app.extensions["keys"]
    try:
        who = read_user_token(keys.link_keys, token)
        with transaction(who.environment) as session:
            user = find_user(session, who.user_id)
    except (UserTokenUnknown, UserTokenExpired, UnknownUser):
        raise Unauthorized from None
    return Caller(who.environment, f"user {who.user_id}", f"user {user.username}", who.user_id)


@contextmanager
def own() -> Iterator[Session]:
    """A transaction that sees what belongs to the caller's environment, and nothing else."""
    caller: Caller = g.caller
    with transaction(caller.environment) as session:
        yield session


def audit(session: Session, action: str, subject: str, **details: str | int | bool | None) -> None:
    """Write down what the caller does, in the transaction that does it."""
    caller: Caller = g.caller
    write_down(session, action, subject, actor=caller.actor, environment=caller.environment, now=now(), **details)


def the_user(session: Session, given: str | None) -> User:
    """The user that the call is for. Raises `UserMissing`, and `UnknownUser` also for somebody else's token."""
    found = user_if_named(session, given)
    if found is None:
        raise UserMissing
    return found


def user_if_named(session: Session, given: str | None) -> User | None:
    """The same, where a call may also be for no user in particular."""
    caller: Caller = g.caller
    if caller.user_id is None:
        return find_user(session, given) if given else None
    user = find_user(session, caller.user_id)
    if given and given != user.id and given.lower() != user.username.lower():
        raise UnknownUser(given)
    return user
