"""Install links: made, listed, looked at, revoked."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from flask import current_app
from pydantic import BeforeValidator, Field
from sqlalchemy.orm import Session, joinedload

from portal.api.access import audit, own, the_user
from portal.api.hooks import resource
from portal.api.shapes import Body, Moment, PageQuery, Query, Ref, Reply, optional
from portal.clock import now
from portal.credentials.rules import drop_drafts
from portal.integrations.rules import find_integration
from portal.links.models import FailedTry, Link, LinkOrigin, LinkState
from portal.links.options import parse_life
from portal.links.prefilled import read_prefilled
from portal.links.rules import create_link, find_by_id, link_url, revoke_link
from portal.web.paging import page

links = resource("links", __name__, tag="Install links")

Life = Annotated[
    str,
    Field(
        pattern=r"^([1-9]|[1-9][0-9]|[12][0-9][0-9]|3[0-5][0-9]|36[0-6])d$|^[1-9][0-9]{0,2}h$|^[1-9][0-9]{0,4}[ms]?$",
        description="`7d`, `12h`, `90m`, or seconds; at most a year. Seven days when left out.",
    ),
]


def _whole(number: Any) -> Any:
    # JSON knows one kind of number: 3600.0 is 3600.
    return int(number) if isinstance(number, float) and number.is_integer() else number


Seconds = Annotated[Annotated[int, Field(ge=1, le=366 * 86400)], BeforeValidator(_whole)]
# Printable ASCII without what would end an attribute or a header; other letters come percent-encoded in an address.
_PORT = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_ADDRESS = rf"^https?://[A-Za-z0-9.-]*[A-Za-z0-9](:({_PORT}))?(/[!#-;=?-\[\]-~]*)?$"
Redirect = Annotated[str, Field(max_length=2000, pattern=_ADDRESS)]
Locale = Annotated[str, Field(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}$", max_length=35)]


class LinkQuery(Query):
    """Options of a new link, in a query."""

    expires_in: Life = "7d"
    redirect_url: Redirect | None = None
    always_show_credentials: bool = True
    locale: Locale | None = None


class WhoAndWhat(LinkQuery):
    """The same, with the user and the integration."""

    user_id: Ref
    integration_id: Ref


class ForWhom(LinkQuery):
    """The same, with the user."""

    user_id: Ref


class NewLink(Body):
    """A link to make. `prefilledValues` are by app or workflow id, then by field; never for secrets."""

    user_id: Ref
    integration_id: Ref
    expires_in: Life | Seconds = "7d"
    redirect_url: Redirect | None = None
    always_show_credentials: bool = True
    workflow_ids: list[Ref] | None = None
    pre_filled_values: dict[str, dict[str, Any]] | None = None
    locale: Locale | None = None


class LinkMade(Reply):
    """The link. It is given out this once: what is stored of it can't open it."""

    url: str
    link_id: str
    expires_at: Moment


class Failure(Reply):
    """What went wrong last, in words."""

    app: str
    field: str | None
    message: str
    at: Moment


class LinkFacts(Reply):
    """One link: how far it has come, and when it reached each step."""

    link_id: str
    state: LinkState
    user_id: str
    username: str
    integration_id: str | None
    always_show_credentials: bool
    redirect_url: str | None
    workflow_ids: list[str] | None
    locale: str | None
    created_at: Moment
    expires_at: Moment
    opened_at: Moment | None
    passed_on_at: Moment | None
    verified_at: Moment | None
    finished_at: Moment | None
    revoked_at: Moment | None
    last_failure: Failure | None


class LinkList(Reply):
    """A page of links, newest first."""

    data: list[LinkFacts]
    next_cursor: str | None = optional("Where the next page begins.")


class LinkListQuery(PageQuery):
    """Which links."""

    user_id: Ref | None = None
    integration_id: Ref | None = None


class OneLink(Reply):
    """One link."""

    data: LinkFacts


def _make(user: str, integration: str, options: LinkQuery | NewLink) -> LinkMade:
    settings = current_app.config["PORTAL_SETTINGS"]
    with own() as session:
        found = find_integration(session, integration)
        given = options.pre_filled_values if isinstance(options, NewLink) else None
        link, token = create_link(
            session,
            current_app.extensions["keys"].link_keys,
            user=the_user(session, user),
            integration=found,
            now=now(),
            life=parse_life(str(options.expires_in)),
            always_show_credentials=options.always_show_credentials,
            redirect_url=options.redirect_url,
            workflow_ids=options.workflow_ids if isinstance(options, NewLink) else None,
            prefilled=read_prefilled(current_app.extensions["catalogue"], found, found.apps, given or {}),
            locale=options.locale,
        )
        audit(session, "link.create", f"{found.name} for {link.user.username}", link=link.id)
        return LinkMade(url=link_url(settings.base_url, link, token), link_id=link.id, expires_at=link.expires_at)


@links.get("/users/<user>/integrations/<integration>/install-url")
@links.input(LinkQuery, location="query")
@links.output(LinkMade)
@links.doc(summary="Make an install link", operation_id="generateLink")
def make_for(user: str, integration: str, query_data: LinkQuery) -> LinkMade:
    return _make(user, integration, query_data)


@links.get("/integrations/<integration>/install-url")
@links.input(ForWhom, location="query")
@links.output(LinkMade)
@links.doc(summary="Make an install link (user in the query)")
def make_of(integration: str, query_data: ForWhom) -> LinkMade:
    return _make(query_data.user_id, integration, query_data)


@links.get("/install-url")
@links.input(WhoAndWhat, location="query")
@links.output(LinkMade)
@links.doc(summary="Make an install link (all in the query)", responses={404: "No such user or integration."})
def make(query_data: WhoAndWhat) -> LinkMade:
    return _make(query_data.user_id, query_data.integration_id, query_data)


@links.post("/links")
@links.input(NewLink)
@links.output(LinkMade, status_code=201)
@links.doc(summary="Make an install link with all options", responses={404: "No such user, integration or workflow."})
def create(json_data: NewLink) -> tuple[LinkMade, int]:
    return _make(json_data.user_id, json_data.integration_id, json_data), 201


@links.get("/links")
@links.input(LinkListQuery, location="query")
@links.output(LinkList)
@links.doc(summary="List links", responses={404: "No such user, integration or page."})
def index(query_data: LinkListQuery) -> LinkList:
    with own() as session:
        statement = sa.select(Link).where(Link.origin == LinkOrigin.link).options(joinedload(Link.user))
        if query_data.user_id:
            statement = statement.where(Link.user_id == the_user(session, query_data.user_id).id)
        if query_data.integration_id:
            integration = find_integration(session, query_data.integration_id)
            statement = statement.where(Link.integration_id == integration.id)
        rows, after = page(
            session,
            statement,
            by=Link.created_at,
            then=Link.id,
            limit=query_data.limit,
            cursor=query_data.cursor,
            is_newest_first=True,
        )
        return LinkList(data=_tell(session, rows), next_cursor=after)


@links.get("/links/<link>")
@links.output(OneLink)
@links.doc(summary="Get a link: state, steps, last failure")
def show(link: str) -> OneLink:
    with own() as session:
        return OneLink(data=_tell(session, [find_by_id(session, link)])[0])


@links.post("/links/<link>/revoke")
@links.output(OneLink)
@links.doc(summary="Revoke a link", responses={410: "The link was used before."})
def revoke(link: str) -> OneLink:
    with own() as session:
        found = find_by_id(session, link)
        revoke_link(session, found, now())
        drop_drafts(session, found.id)
        audit(session, "link.revoke", f"{found.name} for {found.user.username}", link=found.id)
        return OneLink(data=_tell(session, [found])[0])


def _tell(session: Session, rows: list[Link]) -> list[LinkFacts]:
    at = now()
    newest: dict[str, FailedTry] = {}
    tries = sa.select(FailedTry).where(FailedTry.link_id.in_([row.id for row in rows])).order_by(FailedTry.at)
    for failed in session.scalars(tries):
        newest[failed.link_id] = failed
    return [
        LinkFacts(
            link_id=row.id,
            state=row.state(at),
            user_id=row.user_id,
            username=row.user.username,
            integration_id=row.integration_id,
            always_show_credentials=row.always_show_credentials,
            redirect_url=row.redirect_url,
            workflow_ids=row.workflow_ids,
            locale=row.locale,
            created_at=row.created_at,
            expires_at=row.expires_at,
            opened_at=row.opened_at,
            passed_on_at=row.passed_on_at,
            verified_at=row.verified_at,
            finished_at=row.finished_at,
            revoked_at=row.revoked_at,
            last_failure=_failure(newest.get(row.id)),
        )
        for row in rows
    ]


def _failure(failed: FailedTry | None) -> Failure | None:
    if failed is None:
        return None
    return Failure(app=failed.app, field=failed.field, message=failed.message, at=failed.at)
