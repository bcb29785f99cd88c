"""What stands in the place of the form: a refusal with what to do about it, or that the vendor was told of a wish."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import current_app, g, make_response, render_template, request
from flask.typing import ResponseReturnValue
from htmx_flask import request as htmx
from jinja2_fragments.flask import render_block

from portal.db import transaction
from portal.installations.rules import current_installation
from portal.languages import ENGLISH, Sentence, speak
from portal.links.errors import LinkEnded
from portal.refusals import Refusal
from portal.web import PATH


@dataclass(frozen=True)
class Installed:
    """What stands of what an ended link was for: since when, and as which accounts."""

    since: datetime
    accounts: list[tuple[str, str]]


def show_refusal(refusal: Refusal) -> ResponseReturnValue:
    """The page that says what happened and what to do; the same status with and without htmx."""
    name = "install/refused.html"
    if not isinstance(refusal.message(), Sentence):  # meant for developers: then the whole page is English
        speak(ENGLISH)
    message = {"showModal": True} if g.get("is_hidden") else None
    facts: dict[str, Any] = {
        "refusal": refusal,
        "message": message,
        "is_modal": request.path != PATH,
        "asking": _asking(refusal),
    }
    facts["installed"] = _installed(refusal)
    body = render_block(name, "content", **facts) if htmx.htmx else render_template(name, **facts)
    response = make_response(body, refusal.status)
    if htmx.htmx:
        response.headers["HX-Retarget"] = "#content"
        response.headers["HX-Reswap"] = "outerHTML"
    return response


def _asking(refusal: Refusal) -> dict[str, str]:
    """What the form to ask for a new link carries; nothing where there is no link to ask about."""
    if not isinstance(refusal, LinkEnded) or request.path != PATH:
        return {}
    return {name: request.values.get(name, "") for name in ("integrationId", "token")}


def _installed(refusal: Refusal) -> Installed | None:
    if not isinstance(refusal, LinkEnded) or not refusal.tells_installed or refusal.integration_id is None:
        return None
    catalogue = current_app.extensions["catalogue"]
    with transaction(refusal.environment) as session:
        found = current_installation(session, refusal.user_id, refusal.integration_id)
        if found is None:
            return None
        accounts = [(row.app, row.credential.account) for row in found.credentials]
    titles = [(catalogue[app].title if app in catalogue else app, account) for app, account in accounts]
    return Installed(found.installed_at, titles)


def show_asked() -> ResponseReturnValue:
    """The page that says that the vendor was told."""
    name = "install/asked.html"
    return render_block(name, "content") if htmx.htmx else render_template(name)
