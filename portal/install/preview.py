"""The install page as an end user will see it, for the vendor to look at: no link, nobody's data, nothing to send.

It is the page's own template with empty forms. Whoever shows it puts it into a frame that runs no script and sends no
form (`sandbox`), so that nothing on it can be pressed to any effect.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import current_app, render_template

from portal.clock import now
from portal.install.sections import lay_out
from portal.install.settings import WorkflowSettings, settings_form
from portal.install.view import TEMPLATE, Listed, describe
from portal.integrations.declaration import IntegrationDeclaration
from portal.integrations.models import Integration
from portal.languages import ENGLISH, LANGUAGES, Language, language, speak
from portal.links.models import Link
from portal.links.rules import DEFAULT_LIFE
from portal.settings import Settings
from portal.users.models import User

SOMEBODY = "customer@example.com"


def render_preview(declaration: IntegrationDeclaration, spoken: Language = ENGLISH) -> str:
    """The page that a new link of this integration would open, whether it is applied or only planned."""
    stand_in = Link(
        id="",
        integration_id="",
        integration=Integration(id="", name=declaration.name, version=0, apps=list(declaration.apps)),
        user=User(username=SOMEBODY, full_name=None),
        expires_at=now() + DEFAULT_LIFE - timedelta(seconds=1),
    )
    asked = [(str(number), one) for number, one in enumerate(declaration.workflows)]
    view = describe(
        stand_in,
        lay_out(stand_in, current_app.extensions["catalogue"], [], always_show=True),
        press="",
        facts={"token": ""},
        workflows=[Listed(key, one.name, one.description, bool(one.fields)) for key, one in asked],
        settings=[
            WorkflowSettings(key, one.name, one.fields, settings_form(key, one.fields, None, {}))
            for key, one in asked
            if one.fields
        ],
    )
    return _rendered(spoken, page=view, is_preview=True)


def render_with_settings(integration: Integration | None, settings: Settings) -> str:
    """The same with settings that nobody has saved yet, for an integration or, while there is none, for some app."""
    catalogue = current_app.extensions["catalogue"]
    shown = integration or Integration(id="", name="", version=0, apps=[next(iter(catalogue))])
    link = Link(
        id="",
        integration_id=shown.id,
        integration=shown,
        user=User(username=SOMEBODY, full_name="Ada Lovelace"),
        expires_at=now() + DEFAULT_LIFE,
    )
    sections = lay_out(link, catalogue, [], always_show=True)
    view = describe(link, sections, press="", facts={"token": ""}, settings=[])
    return _rendered(LANGUAGES[settings.language], page=view, settings=settings, is_preview=True)


def _rendered(spoken: Language, **facts: Any) -> str:
    """The page in a language, inside of a page in another."""
    own = language()
    speak(spoken)
    try:
        return render_template(TEMPLATE, **facts)
    finally:
        speak(own)
