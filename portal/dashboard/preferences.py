"""Settings: what administrators change while the portal runs, with a preview; and what the environment alone says."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from flask import current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from htmx_flask import request as htmx
from pydantic import SecretStr

from portal.clock import now
from portal.colour import NEEDED, shades
from portal.dashboard.access import audit, dashboard, in_both, me, needs, own
from portal.db import transaction
from portal.http.addresses import without_secrets
from portal.integrations.models import Integration
from portal.languages import LANGUAGES
from portal.operators.models import Role
from portal.preferences.current import current, current_settings
from portal.preferences.errors import BadLogo, BadPreferences
from portal.preferences.logos import LARGEST, keep_logo
from portal.preferences.rules import (
    CHANGEABLE,
    apply,
    change_preferences,
    read_typed,
    reset_preference,
    saved_preferences,
)
from portal.refusals import Refusal
from portal.settings import Settings

TEMPLATE = "dashboard/settings.html"
PREVIEWED = ("vendor_name", "accent", "support_url", "language")  # what the preview is asked with


@dashboard.get("/settings")
@needs(Role.viewer)
def settings() -> ResponseReturnValue:
    """What holds now, what it is by default, who changed it."""
    return _page(current_settings())


@dashboard.post("/settings")
@in_both
def change_settings() -> ResponseReturnValue:
    """Save what was typed; *Preview* only shows what it would be."""
    current().refresh()  # what somebody else saved a moment ago is no change of this form's
    typed = _typed()
    try:
        given = read_typed(typed)
        if request.form.get("action") == "preview":
            tried = apply(current_settings(), given)
            return _preview(tried) if htmx.htmx else _page(tried, is_previewed=True)
        with transaction() as session:
            changes = change_preferences(session, current().defaults, given, by=me().email, now=now())
            if changes:
                audit(session, "settings.change", ", ".join(changes), **changes)
    except BadPreferences as refusal:
        if htmx.htmx:
            return _preview(current_settings(), refusal), refusal.status
        return _page(current_settings(), typed=typed, refusal=refusal), refusal.status
    return _done()


def _typed() -> dict[str, str]:
    """What the form says; the languages that are ticked in one line."""
    typed = request.form.to_dict()
    if "languages" in typed:
        typed["languages"] = " ".join(tag for tag in LANGUAGES if f"language-{tag}" in typed)
    return typed


def _done() -> ResponseReturnValue:
    current().refresh()
    return redirect(url_for("dashboard.settings", saved="yes"), 303)


@dashboard.get("/settings/preview")
def preview_settings() -> ResponseReturnValue:
    """The install page with the values of the address, for the frame on the settings page: nothing on it works."""
    given = {name: request.args[name] for name in PREVIEWED if name in request.args}
    tried = apply(current_settings(), read_typed(given))
    with own() as session:
        newest = session.scalar(sa.select(Integration).order_by(Integration.created_at.desc()).limit(1))
    shown: str = current_app.extensions["settings_preview"](newest, tried)
    return shown


@dashboard.post("/settings/logo")
@in_both
def upload_logo() -> ResponseReturnValue:
    """Keep a picture as the logo, or take it away."""
    file = request.files.get("logo")
    data = file.read(LARGEST + 1) if file else b""
    is_removal = request.form.get("action") == "remove"
    try:
        with transaction() as session:
            path = "" if is_removal else keep_logo(session, data, now())
            given = {"vendor_logo": path}
            if change_preferences(session, current().defaults, given, by=me().email, now=now()):
                audit(session, "settings.change", "vendor_logo", vendor_logo=path)
    except BadLogo as refusal:
        return _page(current_settings(), refusal=refusal), refusal.status
    return _done()


@dashboard.post("/settings/<name>/reset")
@in_both
def reset_setting(name: str) -> ResponseReturnValue:
    """Let the environment decide again."""
    with transaction() as session:
        if reset_preference(session, name):
            audit(session, "settings.reset", name)
    return _done()


def _page(
    shown: Settings,
    *,
    typed: Mapping[str, str] | None = None,
    refusal: Refusal | None = None,
    is_previewed: bool = False,
) -> str:
    defaults = current().defaults
    with transaction() as session:
        saved = saved_preferences(session)
    return render_template(
        TEMPLATE,
        values=typed or {name: _text(getattr(shown, name)) for name in CHANGEABLE},
        defaults={name: _text(getattr(defaults, name)) for name in CHANGEABLE},
        saved=saved,
        refusal=refusal,
        problems=refusal.problems if isinstance(refusal, BadPreferences) else {},
        is_previewed=is_previewed,
        is_saved="saved" in request.args,
        rows=_environment(defaults),
        largest_logo=LARGEST // 1000,
        existing=LANGUAGES.values(),
        **_seen(shown),
    )


def _preview(shown: Settings, refusal: BadPreferences | None = None) -> str:
    problems = refusal.problems if refusal else {}
    return render_template("dashboard/settings_preview.html", problems=problems, is_previewed=True, **_seen(shown))


def _seen(shown: Settings) -> dict[str, object]:
    facts = {name: getattr(shown, name) for name in PREVIEWED}
    return {
        "shades": shades(shown.accent),
        "needed": NEEDED,
        "preview_url": url_for("dashboard.preview_settings", **facts),
    }


def _environment(defaults: Settings) -> list[tuple[str, str, str]]:
    return [
        (f"PORTAL_{name.upper()}", _shown(getattr(defaults, name)), (field.description or "").replace("`", ""))
        for name, field in type(defaults).model_fields.items()
        if name not in CHANGEABLE
    ]


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _shown(value: object) -> str:
    if value in (None, "", ()):
        return "not set"
    if isinstance(value, SecretStr):
        return "set, never shown"
    # Who reads settings needn't read what stands in an address for the other side alone.
    return without_secrets(_text(value))
