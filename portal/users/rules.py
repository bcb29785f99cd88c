"""How users are made and found. A user may be named by id or by username wherever one is asked for."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.environments import Environment
from portal.refusals import Refusal
from portal.users.models import User


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


class BadUsername(Refusal):
    """A username is 1 to 255 visible characters."""

    title = "This can’t be a username"


def _named(environment: Environment, name: str) -> sa.Select[User]:
    return sa.select(User).where(User.environment == environment, sa.or_(User.id == name, User.username == name))


def find_user(session: Session, environment: Environment, name: str) -> User:
    """The user with this id or username. Raises `UnknownUser`."""
    user = session.scalar(_named(environment, name).order_by(User.id != name).limit(1))
    if user is None:
        raise UnknownUser(name)
    return user


def create_user(
    session: Session, environment: Environment, username: str, *, now: datetime, full_name: str | None = None
) -> User:
    """Make a user. Raises `BadUsername`, `UsernameTaken`."""
    username = username.strip()
    if not 1 <= len(username) <= 255 or not username.isprintable():
        raise BadUsername("A username has 1 to 255 visible characters; most often it is an e-mail address.")
    if session.scalar(sa.select(User.id).where(User.environment == environment, User.username == username)):
        raise UsernameTaken(username)
    user = User(environment=environment, username=username, full_name=full_name, created_at=now)
    session.add(user)
    session.flush()
    return user
