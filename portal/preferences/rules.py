"""How settings are changed while the portal runs, and put back to what the environment says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.orm import Session

from portal.db import settings_of
from portal.preferences.errors import BadPreferences
from portal.preferences.models import Preference
from portal.settings import Settings, say

# What may be changed on the dashboard. Everything else needs a restart, or belongs to who runs the machine.
CHANGEABLE = (
    "vendor_name",
    "vendor_logo",
    "accent",
    "support_url",
    "frame_ancestors",
    "language",
    "languages",
    "run_log_days",
    "event_days",
    "link_days",
    "audit_days",
)
LONGEST = 2000  # characters of one value


def apply(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """`settings` with `values` in the place of their own. Raises `BadPreferences`, a sentence for each that can't."""
    given = {name: value for name, value in values.items() if name in CHANGEABLE}
    if not given:
        return settings
    # Only these names are looked at: the rest was valid when the portal started.
    changeable = {name: getattr(settings, name) for name in CHANGEABLE} | given
    try:
        checked = Settings(base_url=settings.base_url, instance=settings.instance, **_whole(settings), **changeable)
    except ValidationError as error:
        raise BadPreferences(
            {
                str(defect["loc"][0]): _sentence(defect["msg"])
                for defect in error.errors(include_input=False, include_url=False)
                if defect["loc"]
            }
        ) from None
    return settings.model_copy(update={name: getattr(checked, name) for name in CHANGEABLE})


def _whole(settings: Settings) -> dict[str, Any]:
    # What depends on each other is checked together, so it goes along.
    return {name: getattr(settings, name) for name in Settings.model_fields if name.startswith("oidc_")}


def _sentence(message: str) -> str:
    text = say(message)
    return f"{text[:1].upper()}{text[1:]}."


def read_typed(typed: Mapping[str, str]) -> dict[str, Any]:
    """What a form says about settings. Raises `BadPreferences`."""
    given = {name: typed[name].strip() for name in CHANGEABLE if name in typed}
    problems = {name: "That is too long." for name, text in given.items() if len(text) > LONGEST}
    problems |= {name: "Write a number of days." for name, text in given.items() if _is_no_number(name, text)}
    if given.get("frame_ancestors") == "":
        problems["frame_ancestors"] = "Say who may embed the page: origins, * for everybody, or 'none' for nobody."
    if problems:
        raise BadPreferences(problems)
    return given


def _is_no_number(name: str, text: str) -> bool:
    return name.endswith("_days") and not (text.isascii() and text.isdigit() and len(text) < 6)


def change_preferences(
    session: Session, defaults: Settings, given: Mapping[str, Any], *, by: str, now: datetime
) -> dict[str, Any]:
    """Save what differs from what holds now; the changes, by name.

    What is the same as in the environment isn't stored: it follows the environment again. Raises `BadPreferences`.
    """
    before = settings_of(session)
    after = apply(before, given)
    changes = {
        name: _stored(getattr(after, name)) for name in CHANGEABLE if getattr(after, name) != getattr(before, name)
    }
    for name, value in changes.items():
        session.execute(sa.delete(Preference).where(Preference.name == name))
        if getattr(after, name) != getattr(defaults, name):
            session.add(Preference(name=name, value=value, changed_at=now, changed_by=by))
    session.flush()
    return changes


def _stored(value: Any) -> Any:
    return " ".join(value) if isinstance(value, tuple) else value


def reset_preference(session: Session, name: str) -> bool:
    """Let the environment decide again; False when it did already."""
    gone = session.execute(sa.delete(Preference).where(Preference.name == name))
    return bool(gone.rowcount)  # type: ignore[attr-defined]


def saved_preferences(session: Session) -> dict[str, Preference]:
    """What was changed on the dashboard, by name."""
    return {row.name: row for row in session.scalars(sa.select(Preference).order_by(Preference.name))}
