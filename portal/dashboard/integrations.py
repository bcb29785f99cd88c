"""Integrations: what there is, its versions and its install page, and changing it by the text of its file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask import Response, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session, selectinload

from portal.clock import now
from portal.dashboard.access import audit, dashboard, in_both, needs, own
from portal.dashboard.lists import by_name, listing
from portal.installations.finding import MOST_COUNTED, count_copies, count_installations
from portal.integrations.declaration import (
    Defect,
    IntegrationDeclaration,
    IntegrationDefects,
    parse_declaration,
    write_declaration,
)
from portal.integrations.models import Integration
from portal.integrations.planning import Plan, plan_declaration, stored_declaration
from portal.integrations.rules import IntegrationChanged, apply_declaration, find_integration
from portal.languages import LANGUAGES, Language
from portal.operators.models import Role
from portal.preferences.current import current_settings
from portal.preferences.languages import offered_languages
from portal.workflows.picture import draw
from portal.workflows.rules import versions_of

AROUND = 2  # lines shown before and after one with a defect
VERSIONS = 20  # of a workflow, the newest


def _catalogue() -> Any:
    return current_app.extensions["catalogue"]


@dashboard.get("/integrations")
@needs(Role.viewer)
def integrations() -> ResponseReturnValue:
    """Every integration."""
    statement = sa.select(Integration).options(selectinload(Integration.workflows))
    with own() as session:
        found = listing(session, statement, then=Integration.id, columns=[by_name(Integration.name)])
        return render_template(
            "dashboard/integrations.html",
            found=found,
            counts=count_installations(session, [one.id for one in found.rows]),
            most=MOST_COUNTED,
            catalogue=_catalogue(),
        )


@dashboard.get("/integrations/<integration>")
@needs(Role.viewer)
def integration(integration: str) -> ResponseReturnValue:
    """One integration: its apps, its workflows with their steps and versions, how often it is installed."""
    with own() as session:
        found = find_integration(session, integration)
        versions = {workflow.id: versions_of(session, workflow.id)[:VERSIONS] for workflow in found.workflows}
        return render_template(
            "dashboard/integration.html",
            one=found,
            pictures={w.id: draw(w.id, w.newest.definition, found.apps) for w in found.workflows},
            versions=versions,
            copies=count_copies(session, [version.id for known in versions.values() for version in known]),
            installs=count_installations(session, [found.id])[found.id],
            most=MOST_COUNTED,
            catalogue=_catalogue(),
        )


@dashboard.get("/integrations/<integration>/preview")
@needs(Role.viewer)
def preview(integration: str) -> ResponseReturnValue:
    """The install page as the end user will see it, on a phone and on a desk."""
    with own() as session:
        found = find_integration(session, integration)
        declaration = IntegrationDeclaration.model_validate(stored_declaration(session, found))
    languages = offered_languages(current_settings())
    asked = request.args.get("language", current_settings().language)
    spoken = next((one for one in languages if one.tag == asked), languages[0])
    return render_template(
        "dashboard/preview.html", one=found, shown=_shown(declaration, spoken), spoken=spoken, languages=languages
    )


def _shown(declaration: IntegrationDeclaration, spoken: Language | None = None) -> str:
    spoken = spoken or LANGUAGES[current_settings().language]
    text: str = current_app.extensions["install_preview"](declaration, spoken)
    return text


@dashboard.get("/integrations/<integration>/file")
@needs(Role.viewer)
def integration_file(integration: str) -> ResponseReturnValue:
    """The integration's file, as it was applied last."""
    with own() as session:
        found = find_integration(session, integration)
        text = write_declaration(stored_declaration(session, found))
    response = Response(text, content_type="application/yaml; charset=utf-8")
    name = re.sub(r"[^a-z0-9]+", "-", found.name.lower()).strip("-") or "integration"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.yaml"'
    return response


@dashboard.get("/integrations/apply")
def edit_integration() -> ResponseReturnValue:
    """The form for the text of an integration file: empty, or with that of an integration that is there."""
    text = ""
    if name := request.args.get("integration"):
        with own() as session:
            text = write_declaration(stored_declaration(session, find_integration(session, name)))
    return _form(text)


@dashboard.post("/integrations/apply")
@in_both
def apply_integration() -> ResponseReturnValue:
    """Show the difference that a text would make; with `press=apply`, make it."""
    text = request.form.get("text", "").replace("\r\n", "\n")
    try:
        uploaded = _uploaded()
        text = text if uploaded is None else uploaded
        declaration = parse_declaration(text, _catalogue(), source="This text")
    except IntegrationDefects as refusal:
        return _form(text, refusal.defects), refusal.status
    if request.form.get("press") == "edit":
        return _form(text)
    if request.form.get("press") != "apply":
        return _difference(text, declaration)
    try:
        with own() as session:
            version = request.form.get("version", "")
            applied, outcome = apply_declaration(
                session, declaration, now(), on_version=int(version) if re.fullmatch(r"[0-9]{1,9}", version) else -1
            )
            audit(session, "integration.apply", applied.name, version=applied.version, outcome=str(outcome))
    except IntegrationChanged as refusal:
        return _difference(text, declaration, refusal), refusal.status
    return redirect(url_for("dashboard.integration", integration=applied.id), 303)


def _uploaded() -> str | None:
    """The text of the file that was chosen. Raises `IntegrationDefects`."""
    file = request.files.get("file")
    if file is None or not file.filename:
        return None
    try:
        return str(file.read(), "utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise IntegrationDefects("The file", [Defect(None, "It isn’t text in UTF-8: save it as that.")]) from None


@dataclass(frozen=True)
class Shown:
    """A defect with the lines around it: (number, text, whether it is the one)."""

    defect: Defect
    lines: list[tuple[int, str, bool]]


def _form(text: str, defects: list[Defect] | None = None) -> str:
    lines = text.splitlines()
    shown = []
    for defect in defects or []:
        at = defect.line or 0
        around = range(max(1, at - AROUND), min(len(lines), at + AROUND) + 1) if at else ()
        shown.append(Shown(defect, [(number, lines[number - 1], number == at) for number in around]))
    return render_template("dashboard/integration_form.html", text=text, defects=shown)


def _difference(text: str, declaration: IntegrationDeclaration, problem: IntegrationChanged | None = None) -> str:
    with own() as session:
        plan = plan_declaration(session, declaration)
        return render_template(
            "dashboard/difference.html",
            plan=plan,
            text=text,
            copies=_copies(session, plan),
            most=MOST_COUNTED,
            shown=_shown(declaration),
            problem=problem,
        )


def _copies(session: Session, plan: Plan) -> dict[str, int]:
    """How many copies there are of each workflow that is changed or dropped, by its name."""
    return {
        change.name: sum(
            count_copies(session, [version.id for version in versions_of(session, change.workflow_id)]).values()
        )
        for change in plan.workflows
        if change.workflow_id and change.deed != "kept"
    }
