"""What apps and their fields are called, for every page: people read titles, never the names of the files."""

from __future__ import annotations

from flask import current_app

from portal.catalogue import Catalogue
from portal.dashboard.access import dashboard
from portal.links.models import Link


@dashboard.app_template_global()
@dashboard.app_template_filter()
def app_title(app: str) -> str:
    """The app's title; its name where the catalogue doesn't know it any more."""
    catalogue: Catalogue = current_app.extensions["catalogue"]
    return catalogue[app].title if app in catalogue else app


@dashboard.app_template_global()
def field_title(app: str, field: str) -> str:
    """The title of an app's field; its name in plain letters where the app has none of that name any more."""
    catalogue: Catalogue = current_app.extensions["catalogue"]
    fields = catalogue[app].fields if app in catalogue else ()
    return next((one.title for one in fields if one.name == field), field.replace("_", " "))


@dashboard.app_template_global()
def link_title(link: Link) -> str:
    """What a link connects: its integration, or the one app."""
    return link.integration.name if link.integration else app_title(link.app or "")
