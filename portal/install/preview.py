"""The install page as an end user would see it with settings that nobody has saved yet, for the dashboard."""

from __future__ import annotations

from datetime import timedelta

from flask import current_app, render_template

from portal.clock import now
from portal.install.sections import lay_out
from portal.install.view import TEMPLATE, describe
from portal.integrations.models import Integration
from portal.links.models import Link
from portal.settings import Settings
from portal.users.models import User

LIFE = timedelta(days=7)


def render_preview(integration: Integration | None, settings: Settings) -> str:
    """The page of a link that doesn't exist, for `integration` or, while there is none, for some app."""
    catalogue = current_app.extensions["catalogue"]
    shown = integration or Integration(id="", name="", version=0, apps=[next(iter(catalogue))])
    link = Link(
        id="",
        integration_id=shown.id,
        integration=shown,
        user=User(username="ada@customer.example", full_name="Ada Lovelace"),
        expires_at=now() + LIFE,
    )
    sections = lay_out(link, catalogue, [], always_show=True)
    view = describe(link, sections, press="", facts={"token": ""}, settings=[])
    return render_template(TEMPLATE, page=view, settings=settings)
