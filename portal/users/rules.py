"""How users are made and found. A user may be named by id or by username wherever one is asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.letters import is_storable
from portal.refusals import Refusal
from portal.users.models import User

# No control characters, nothing that turns the direction of the text around it, no blank at either end.
_HIDDEN = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
VISIBLE = rf"^[^\s{_HIDDEN}]([^{_HIDDEN}]*[^\s{_HIDDEN}])?$"


class UnknownUser(Refusal):
    """No user by that id or username."""

    status = 404
    title = "No such user"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no user “{name}”. Check the spelling, or make the user first.")


class UsernameTaken(Refusal):
    """Usernames are unique in an environment."""

    status = 409
    title = "This username is taken"

    def __init__(self, username: str) -> None:
        super().__init__(f"There is a user “{username}” already.")


class BadFullName(Refusal):
    """A full name has at most 255 visible characters."""

    title = "This can’t be a name"


class BadUsername(Refusal):
    """A username is 1 to 255 visible characters."""

    title = "This can’t be a username"


def find_user(session: Session, name: str) -> User:
    """The user with this id or username in the session's environment. Raises `UnknownUser`."""
    named = sa.select(User).where(sa.or_(User.id == name, User.username == name))
    user = session.scalar(named.order_by(User.id != name).limit(1))
    if user is None:
        raise UnknownUser(name)
    return user


def find_spelled(session: Session, name: str) -> User | None:
    """The user with this id or username, as typed or in lower case, as `search_users` looks for it."""
    spelled = sa.select(User).where(sa.or_(User.id == name, User.username.in_([name, name.lower()])))
    return session.scalar(spelled.order_by(User.id != name, User.username != name).limit(1))


def begins_with(text: str) -> sa.ColumnElement[bool]:
    """The condition that a username begins with `text`; an index answers it."""
    return sa.and_(User.username >= text, User.username < text + "\U0010ffff")


def search_users(session: Session, text: str, limit: int) -> list[User]:
    """The first users, by name, whose username begins with `text`, as typed or in lower case; nobody for no text."""
    text = text.strip()[:255]
    if not text:
        return []
    # One question for each spelling: both at once would be answered by sorting all whom either finds.
    found = [
        user
        for start in {text, text.lower()}
        for user in session.scalars(sa.select(User).where(begins_with(start)).order_by(User.username).limit(limit))
    ]
    return sorted(found, key=lambda user: user.username)[:limit]


def spelling_of(session: Session, text: str) -> str:
    """The beginning of a username as it is kept: as typed if anybody's begins so, else in lower case."""
    text = text.strip()[:255]
    if session.scalar(sa.select(User.id).where(begins_with(text)).limit(1)):
        return text
    return text.lower()


def create_user(session: Session, username: str, *, now: datetime, full_name: str | None = None) -> User:
    """Make a user in the session's environment. Raises `BadUsername`, `BadFullName`, `UsernameTaken`."""
    username = _username(username)
    if session.scalar(sa.select(User.id).where(User.username == username)):
        raise UsernameTaken(username)
    user = User(username=username, full_name=read_full_name(full_name), created_at=now)
    session.add(user)
    session.flush()
    return user


def create_users(session: Session, given: Sequence[tuple[str, str | None]], now: datetime) -> list[int]:
    """Make many users; returns the places of those that could not be made (no username, or taken)."""
    rejected: list[int] = []
    wanted: dict[str, tuple[int, str | None]] = {}
    for place, (username, full_name) in enumerate(given):
        try:
            name, full_name = _username(username), read_full_name(full_name)
        except Refusal:
            rejected.append(place)
            continue
        if name in wanted:
            rejected.append(place)
        else:
            wanted[name] = (place, full_name)
    for taken in session.scalars(sa.select(User.username).where(User.username.in_(list(wanted)))):
        rejected.append(wanted.pop(taken)[0])
    session.add_all(User(username=name, full_name=full, created_at=now) for name, (_, full) in wanted.items())
    session.flush()
    return sorted(rejected)


def update_user(session: Session, user: User, *, username: str | None, full_name: str | None) -> None:
    """Change what is given. Raises `BadUsername`, `BadFullName`, `UsernameTaken`."""
    if username is not None:
        username = _username(username)
        if session.scalar(sa.select(User.id).where(User.username == username, User.id != user.id)):
            raise UsernameTaken(username)
        user.username = username
    if full_name is not None:
        user.full_name = read_full_name(full_name)
    session.flush()


def _username(given: str) -> str:
    username = given.strip()
    if len(username) > 255 or not re.match(VISIBLE, username) or not is_storable(username):
        raise BadUsername("A username has 1 to 255 visible characters; most often it is an e-mail address.")
    return username


def read_full_name(given: str | None) -> str | None:
    """The name as it is kept; None for no name. Raises `BadFullName`."""
    name = (given or "").strip()
    if name and (len(name) > 255 or not re.match(VISIBLE, name) or not is_storable(name)):
        raise BadFullName("A full name has at most 255 visible characters.")
    return name or None
