"""Credentials: listed without their values, made (after a test at their provider), forgotten; what apps ask for."""

from __future__ import annotations

from typing import Annotated, Any

from flask import current_app
from pydantic import ConfigDict, Field, model_validator

from portal.api.access import audit, own, the_user
from portal.api.apps import the_app
from portal.api.hooks import resource
from portal.api.shapes import Body, Moment, Query, Ref, Reply, Success
from portal.catalogue import App, FieldProblem, HostNotAllowed, clean
from portal.clock import now
from portal.credentials.rules import (
    ConnectionFailed,
    credentials_of,
    find_credential,
    keep_tested,
    test_connection,
)
from portal.installations.changing import delete_credential
from portal.links.models import LinkOrigin
from portal.links.rules import create_link, link_url
from portal.refusals import Refusal
from portal.users.token import LIFE
from portal.web.turns import while_waiting

credentials = resource("credentials", __name__, tag="Credentials")


class CredentialFacts(Reply):
    """A credential without its values; `name` is the account that it opens."""

    credential_id: str
    type: str
    name: str
    created_at: Moment
    updated_at: Moment


class CredentialList(Reply):
    """A user's credentials."""

    data: list[CredentialFacts]


class Given(Body):
    """An app, and values for its fields (GET /metadata/credentials names them)."""

    type: Ref
    data: Annotated[dict[str, Any], Field(max_length=50)]


class NewCredential(Body):
    """A credential to test and keep."""

    user_id: Ref
    credential: Given


class NewCredentialOf(Body):
    """The same, for the user of the path: `credential`, or `type` and `data` themselves."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["credential"], "properties": {"credential": {"type": "object"}}},
                {"required": ["type", "data"]},
            ]
        }
    )

    credential: Given | None = None
    type: Ref = ""
    data: Annotated[dict[str, Any], Field(max_length=50)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> NewCredentialOf:
        if self.credential is None and not self.model_fields_set >= {"type", "data"}:
            raise ValueError("send `credential`, or `type` and `data`")
        return self

    @property
    def given(self) -> Given:
        """What was sent, either way."""
        return self.credential or Given(type=self.type, data=self.data)


class CredentialMade(Reply):
    """The new credential's id."""

    success: bool = True
    credential_id: str


class OAuthQuery(Query):
    """For whom, and which app: the clients send either name, and properties that are asked for on the page."""

    user_id: Ref
    app: Ref | None = None
    credential_name: Ref | None = None


class ConnectQuery(Query):
    """What some clients send besides; the app stands in the path."""

    integration_id: Ref | None = None


class OAuthData(Reply):
    """The page's address."""

    oauth_url: str


class OAuthUrl(Reply):
    """A page where the user connects the app, usable once within the hour. Clients read one or the other."""

    oauth_url: str
    data: OAuthData


class NotAccepted(Refusal):
    """The values can't be kept: a field is wrong, or the provider refused them."""

    title = "The credential was not accepted"


@credentials.get("/users/<user>/credentials")
@credentials.output(CredentialList)
@credentials.doc(summary="List a user's credentials", description="Their values are never shown.")
def index(user: str) -> CredentialList:
    return _list(user)


def _list(user: str) -> CredentialList:
    with own() as session:
        found = credentials_of(session, the_user(session, user).id)
    return CredentialList(
        data=[
            CredentialFacts(
                credential_id=one.id,
                type=one.app,
                name=one.account,
                created_at=one.created_at,
                updated_at=one.updated_at,
            )
            for one in found
        ]
    )


@credentials.get("/credentials/users/<user>")
@credentials.output(CredentialList)
@credentials.doc(summary="List a user's credentials (other address)")
def index_too(user: str) -> CredentialList:
    return _list(user)


@credentials.post("/headless/credentials")
@credentials.input(NewCredential)
@credentials.output(CredentialMade)
@credentials.doc(
    summary="Create a credential", description="Tested at its provider first.", responses={404: "No such user or app."}
)
def create(json_data: NewCredential) -> CredentialMade:
    return _keep(json_data.user_id, json_data.credential)


@credentials.post("/users/<user>/credentials")
@credentials.input(NewCredentialOf)
@credentials.output(CredentialMade)
@credentials.doc(summary="Create a credential of a user", description="Tested at its provider first.")
def create_of(user: str, json_data: NewCredentialOf) -> CredentialMade:
    return _keep(user, json_data.given)


def _keep(user_name: str, given: Given) -> CredentialMade:
    extensions = current_app.extensions
    with own() as session:
        user = the_user(session, user_name)
    app = the_app(given.type)
    values = _clean(app, given.data)
    try:
        with while_waiting():
            tested = test_connection(extensions["outbound"], app, values)
    except ConnectionFailed as failure:
        raise NotAccepted(failure.message) from None
    except HostNotAllowed as refusal:
        raise NotAccepted(f"{app.title} can’t be reached at this address: {refusal}.") from None
    with own() as session:
        kept = keep_tested(
            session,
            extensions["keys"],
            tested,
            environment=user.environment,
            user_id=the_user(session, user.id).id,
            link_id=None,
            now=now(),
        )
        audit(session, "credential.create", f"{app.title} of {user.username}", credential=kept.id)
    return CredentialMade(credential_id=kept.id)


def _clean(app: App, given: dict[str, Any]) -> dict[str, str]:
    values = {}
    for field in app.fields:
        value = given.get(field.name, "")
        try:
            values[field.name] = clean(field, value if isinstance(value, str) else str(value)).value
        except FieldProblem as problem:
            raise NotAccepted(f"`{field.name}`: {problem}") from None
    return values


@credentials.delete("/users/<user>/credentials/<credential>")
@credentials.output(Success)
@credentials.doc(summary="Delete a credential", description="What runs with it is stopped.")
def delete(user: str, credential: str) -> Success:
    with own() as session:
        owner = the_user(session, user)
        found = find_credential(session, owner.id, credential)
        audit(session, "credential.delete", f"{found.app} of {owner.username}", credential=found.id)
        delete_credential(session, found, now())
    return Success()


@credentials.get("/users/<user>/credentials/<credential>")
@credentials.input(ConnectQuery, location="query")
@credentials.output(OAuthUrl)
@credentials.doc(
    summary="Make a page where the user connects an app",
    description="In the place of `credential` stands the app's name.",
)
def connect(user: str, credential: str, query_data: ConnectQuery) -> OAuthUrl:
    return _connection_page(user, credential)


@credentials.get("/headless/oauthUrl")
@credentials.input(OAuthQuery, location="query")
@credentials.output(OAuthUrl)
@credentials.doc(
    summary="Make a page where the user connects an app (all in the query)", responses={404: "No such user or app."}
)
def connect_too(query_data: OAuthQuery) -> OAuthUrl:
    return _connection_page(query_data.user_id, query_data.app or query_data.credential_name or "")


def _connection_page(user: str, app: str) -> OAuthUrl:
    with own() as session:
        link, token = create_link(
            session,
            current_app.extensions["keys"].link_keys,
            user=the_user(session, user),
            integration=None,
            now=now(),
            life=LIFE,
            origin=LinkOrigin.connection,
            app=the_app(app).name,
        )
        audit(session, "link.create", f"{app} for {link.user.username}", link=link.id)
        url = link_url(current_app.config["PORTAL_SETTINGS"].base_url, link, token)
    return OAuthUrl(oauth_url=url, data=OAuthData(oauth_url=url))
