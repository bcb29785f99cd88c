"""Users: made, listed, changed, forgotten; their tokens."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import sqlalchemy as sa
from flask import current_app
from pydantic import Field

from portal.api.access import audit, own, the_user
from portal.api.hooks import resource
from portal.api.shapes import Body, Message, PageQuery, Ref, Reply, Success, optional
from portal.clock import now
from portal.db import wipe_deleted
from portal.installations.changing import deactivate_all, delete_user
from portal.installations.models import Installation
from portal.refusals import Refusal
from portal.users.models import User
from portal.users.rules import VISIBLE, create_user, create_users, update_user
from portal.users.token import write_user_token
from portal.web.paging import page
from portal.workflows.models import ChildWorkflow

users = resource("users", __name__, tag="Users")

MOST_AT_ONCE = 1000


Name = Annotated[str, Field(min_length=1, max_length=255, pattern=VISIBLE)]


class NewUser(Body):
    """A user to make. The username is most often an e-mail address, and unique."""

    username: Name
    full_name: Name | Literal[""] | None = None


class ChangedUser(Body):
    """What to change; what is left out stays."""

    username: Name | None = None
    full_name: Name | Literal[""] | None = None


class NewUsers(Body):
    """Up to a thousand users; each one is looked at by itself, so that one that can't be made doesn't stop the rest."""

    users: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MOST_AT_ONCE)]


class UserMade(Reply):
    """The new user's id."""

    user_id: str


class UsersMade(Reply):
    """Which entries could not be made."""

    message: str
    invalid_users: list[dict[str, Any]]


class UserFacts(Reply):
    """One user."""

    user_id: str
    username: str
    full_name: str | None


class UserList(Reply):
    """A page of users, in the order in which they were made."""

    data: list[UserFacts]
    next_cursor: str | None = optional("Where the next page begins.")


class UserListQuery(PageQuery):
    """Which users; without a limit the first thousand."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 1000
    parent_workflow_id: Ref | None = None


class Token(Reply):
    """For the browser: it acts for this user alone, for one hour."""

    token: str


class NoValidUsers(Refusal):
    """Not one entry of a batch could be made."""

    title = "No users"

    def message(self) -> str:
        return "No valid users provided"


def facts_of(user: User) -> UserFacts:
    """A user as the API tells it."""
    return UserFacts(user_id=user.id, username=user.username, full_name=user.full_name)


@users.post("/users")
@users.input(NewUser)
@users.output(UserMade)
@users.doc(summary="Create a user", responses={409: "The username is taken."})
def create(json_data: NewUser) -> UserMade:
    with own() as session:
        made = create_user(session, json_data.username, now=now(), full_name=json_data.full_name)
        audit(session, "user.create", made.username)
    return UserMade(user_id=made.id)


@users.post("/users/batch")
@users.input(NewUsers)
@users.output(UsersMade)
@users.doc(summary="Create up to a thousand users")
def create_batch(json_data: NewUsers) -> UsersMade:
    entries = json_data.users
    given = [(_text(entry.get("username")), _text(entry.get("fullName"))) for entry in entries]
    with own() as session:
        rejected = create_users(session, given, now())
        if len(rejected) == len(entries):
            raise NoValidUsers
        audit(session, "user.create", f"{len(entries) - len(rejected)} users at once")
    return UsersMade(message="success", invalid_users=[entries[place] for place in rejected])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


@users.get("/users")
@users.input(UserListQuery, location="query")
@users.output(UserList)
@users.doc(summary="List users", responses={404: "There is no page at this cursor."})
def index(query_data: UserListQuery) -> UserList:
    statement = sa.select(User)
    if query_data.parent_workflow_id:
        statement = statement.where(
            sa.exists()
            .where(Installation.user_id == User.id, ChildWorkflow.installation_id == Installation.id)
            .where(ChildWorkflow.workflow_id == query_data.parent_workflow_id, ChildWorkflow.removed_at.is_(None))
        )
    with own() as session:
        rows, after = page(
            session, statement, by=User.created_at, then=User.id, limit=query_data.limit, cursor=query_data.cursor
        )
    return UserList(data=[facts_of(user) for user in rows], next_cursor=after)


@users.get("/users/<user>")
@users.output(UserFacts)
@users.doc(summary="Get a user")
def show(user: str) -> UserFacts:
    with own() as session:
        return facts_of(the_user(session, user))


@users.put("/users/<user>")
@users.input(ChangedUser)
@users.output(UserFacts)
@users.doc(summary="Change a user", responses={409: "The username is taken."})
def change(user: str, json_data: ChangedUser) -> UserFacts:
    with own() as session:
        found = the_user(session, user)
        before = found.username
        update_user(session, found, username=json_data.username, full_name=json_data.full_name)
        audit(session, "user.change", found.username, was=before)
        return facts_of(found)


@users.delete("/users/<user>")
@users.output(Success)
@users.doc(summary="Delete a user", description="With links, credentials, installations and exports. Logs stay.")
def delete(user: str) -> Success:
    with own() as session:
        found = the_user(session, user)
        exports = delete_user(session, found, now())
        audit(session, "user.delete", found.username, user=found.id)
    if exports:
        wipe_deleted(is_thorough=True)
    return Success()


@users.get("/users/<user>/token")
@users.output(Token)
@users.doc(summary="Make a user token", description="For the browser; it lives one hour.")
def token(user: str) -> Token:
    with own() as session:
        found = the_user(session, user)
    keys = current_app.extensions["keys"].link_keys
    return Token(token=write_user_token(keys, found.id, found.environment))


@users.put("/users/<user>/deactivate-workflows")
@users.output(Message)
@users.doc(summary="Stop every workflow of a user")
def deactivate(user: str) -> Message:
    with own() as session:
        found = the_user(session, user)
        deactivate_all(session, found, now())
        audit(session, "user.deactivate_workflows", found.username)
    return Message(message="Success")
