"""How users are made and found. A user may be named by id or by username wherever one is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import cache

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.letters import is_storable, small
from portal.refusals import Refusal, Unknown
from portal.users.models import User

# No control characters, nothing that turns the direction of the text around it, no blank at either end.
_HIDDEN = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
VISIBLE = rf"^[^\s{_HIDDEN}]([^{_HIDDEN}]*[^\s{_HIDDEN}])?$"


class UnknownUser(Unknown):
    """No user by that id or username."""

    title = "No such user"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no user “{name}”. Check the spelling, or make the user first.")


class SeveralUsers(Refusal):
    """Nobody has this very username, and several have it in other capitals."""

    status = 409
    title = "This is more than one user"

    def __init__(self, name: str) -> None:
        super().__init__(f"Several usernames are “{name}” in other capitals. Type it exactly as it is written.")


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
    """The user with this id or username in the session's environment. Raises `UnknownUser`, `SeveralUsers`."""
    user = look_up_user(session, name)
    if user is None:
        raise UnknownUser(name)
    return user


def look_up_user(session: Session, name: str) -> User | None:
    """The same; None when there is none.

    Whoever has the very name that was typed comes first; else it may be typed in other capitals, as long as that names
    one user alone. Raises `SeveralUsers`.
    """
    found = session.execute(_named(), {"name": name, "spellings": _spellings(name)}).all()
    if len(found) == 2 and found[0][1] == 2:
        raise SeveralUsers(name)
    return found[0][0] if found else None


@cache
def _named() -> sa.Select[User, int]:
    # Made once: making it anew takes as long as the answer, and it is on the way of most calls.
    name: sa.BindParameter[str] = sa.bindparam("name")
    spellings: sa.BindParameter[str] = sa.bindparam("spellings", expanding=True)
    is_exact = sa.case((User.id == name, 0), (User.username == name, 1), else_=2)
    named = sa.or_(User.id == name, User.small_username.in_(spellings))
    return sa.select(User, is_exact).where(named).order_by(is_exact).limit(2)


def begins_with(spelling: str) -> sa.ColumnElement[bool]:
    """The condition that a username in small letters begins so; an index answers it."""
    return sa.and_(User.small_username >= spelling, User.small_username < spelling + "\U0010ffff")


def search_users(session: Session, text: str, limit: int) -> list[User]:
    """The first users, by name, whose username begins with `text`, in whatever capitals; nobody for no text."""
    text = text.strip()[:255]
    if not text:
        return []
    # One question for each spelling: all at once would be answered by sorting everybody whom they find.
    found = [
        user
        for spelling in _spellings(text)
        for user in session.scalars(
            sa.select(User).where(begins_with(spelling)).order_by(User.small_username, User.id).limit(limit)
        )
    ]
    return sorted(found, key=lambda user: (small(user.username), user.id))[:limit]


def spelling_of(session: Session, text: str) -> str:
    """The beginning of a username in the spelling that anybody's begins with, for `begins_with`."""
    spellings = _spellings(text.strip()[:255])
    there = (one for one in spellings if session.scalar(sa.select(User.id).where(begins_with(one)).limit(1)))
    return next(there, spellings[0])


def _spellings(text: str) -> list[str]:
    """How a name that is typed so may stand in the index of names in small letters.

    That knows the small letters of ASCII alone: other letters are looked for as typed, all small, and all large.
    """
    typed = (text, _beyond_ascii(str.lower, text), _beyond_ascii(str.upper, text))
    return list(dict.fromkeys(map(small, typed)))


def _beyond_ascii(change: Callable[[str], str], text: str) -> str:
    """The text with its letters beyond ASCII changed, where one such letter comes of it."""

    def changed(letter: str) -> str:
        new = letter if letter.isascii() else change(letter)
        return letter if len(new) > 1 or new.isascii() else new

    return "".join(map(changed, text))


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


def usernames_of(session: Session, user_ids: Collection[str]) -> dict[str, str]:
    """What these users are called, by id; those that are gone, or in the other environment, have no name."""
    found = session.execute(sa.select(User.id, User.username).where(User.id.in_(set(user_ids))))
    return {one.id: one.username for one in found}
