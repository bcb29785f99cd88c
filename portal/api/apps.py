"""What the catalogue knows: apps, and what their credentials are made of; each app's icon."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, current_app, render_template
from pydantic import Field

from portal.api.hooks import resource
from portal.api.shapes import Ref, Reply, UserQuery, optional
from portal.catalogue import App, Catalogue
from portal.refusals import Unknown

apps = resource("apps", __name__, tag="Apps")
icons = Blueprint("icons", __name__)


class UnknownApp(Unknown):
    """The catalogue has no app by this name."""

    title = "No such app"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no app “{name[:64]}”. GET /apps names them.")


class AppFacts(Reply):
    """An app."""

    name: str
    title: str
    icon: str
    type: list[str] = Field(description="`action` and `trigger`: what workflows can do with it.")


class AppList(Reply):
    """Every app."""

    data: list[AppFacts]


class Property(Reply):
    """One field of an app's credential."""

    name: str
    display_name: str
    description: str | None = optional()


class CredentialType(Reply):
    """What an app's credential is made of."""

    name: str
    icon: str
    is_oauth: bool
    properties: list[Property]


class CredentialTypes(Reply):
    """What credentials are made of."""

    data: list[CredentialType]


def the_app(name: str) -> App:
    """The app called `name`. Raises `UnknownApp`."""
    catalogue: Catalogue = current_app.extensions["catalogue"]
    if name not in catalogue:
        raise UnknownApp(name)
    return catalogue[name]


def icon_url(app: App) -> str:
    """Where the app's icon is."""
    return f"{current_app.config['PORTAL_SETTINGS'].base_url}/icons/{app.name}.svg"


def _all() -> list[App]:
    catalogue: Catalogue = current_app.extensions["catalogue"]
    return [catalogue[name] for name in sorted(catalogue)]


def _list_apps() -> AppList:
    return AppList(
        data=[AppFacts(name=a.name, title=a.title, icon=icon_url(a), type=["action", "trigger"]) for a in _all()]
    )


def _tell(app: App) -> CredentialType:
    properties = [Property(name=f.name, display_name=f.title, description=f.hint or None) for f in app.fields]
    return CredentialType(name=app.name, icon=icon_url(app), is_oauth=False, properties=properties)


@apps.get("/apps")
@apps.output(AppList)
@apps.doc(summary="List apps")
def index() -> AppList:
    return _list_apps()


@apps.get("/metadata/apps")
@apps.output(AppList)
@apps.doc(summary="List apps (other address)")
def index_too() -> AppList:
    return _list_apps()


@apps.get("/metadata/credentials")
@apps.output(CredentialTypes)
@apps.doc(summary="List what credentials are made of")
def types() -> CredentialTypes:
    return CredentialTypes(data=[_tell(app) for app in _all()])


@apps.get("/credentials")
@apps.input(UserQuery, location="query")
@apps.output(CredentialTypes)
@apps.doc(summary="List what credentials are made of (other address)")
def types_too(query_data: UserQuery) -> CredentialTypes:
    return CredentialTypes(data=[_tell(app) for app in _all()])


@apps.get("/metadata/credentials/<app>")
@apps.output(CredentialTypes)
@apps.doc(summary="Get what an app's credential is made of")
def type_of(app: Ref) -> CredentialTypes:
    return CredentialTypes(data=[_tell(the_app(app))])


@apps.get("/credentials/<app>")
@apps.output(CredentialTypes)
@apps.doc(summary="Get what an app's credential is made of (other address)")
def type_of_too(app: Ref) -> CredentialTypes:
    return CredentialTypes(data=[_tell(the_app(app))])


@icons.get("/icons/<name>.svg")
def icon(name: str) -> Any:
    """The app's mark, as the install page shows it."""
    catalogue: Catalogue = current_app.extensions["catalogue"]
    if name not in catalogue:
        abort(404)
    response = Response(render_template("layout/icon.svg", app=catalogue[name]), content_type="image/svg+xml")
    response.headers["Cache-Control"] = "public, max-age=86400"
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'none'"
    return response
