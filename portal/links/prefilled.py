"""Values that are given with a link: for fields of apps that aren't secret, and for fields of workflows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from portal.catalogue import Catalogue, FieldProblem, clean
from portal.integrations.models import Integration
from portal.letters import is_storable
from portal.links.errors import BadLinkOption, NoSuchField
from portal.workflows.fields import LONGEST_VALUE

Prefilled = dict[str, dict[str, str]]


def read_prefilled(catalogue: Catalogue, integration: Integration | None, apps: Sequence[str], given: Any) -> Prefilled:
    """Values by app or workflow id. Raises `BadLinkOption` for what isn't there, and for a secret.

    `given` is `{app or workflow id: {field: value}}`, or the list that the published front-end client sends:
    entries with `app`, `workflowId` or `workflowName` (none: whatever has the field) and either `fields` (a list of
    `{name, value}`) or `name` and `value` themselves.
    """
    found: Prefilled = {}
    for owner, name, value in _entries(given):
        if not is_storable(owner + name):
            raise BadLinkOption("The name of a pre-filled value has a character that no name has.")
        text = _as_text(name, value)
        places = [
            place
            for place in (*_app_places(catalogue, apps, name, text), *_workflow_places(integration, name))
            if owner in ("", *place[:2])
        ]
        if not places:
            raise NoSuchField(name)
        for key, _ in places:
            found.setdefault(key, {})[name] = text
    return found


def _as_text(name: str, value: Any) -> str:
    if not isinstance(value, str | int | float | bool):
        raise BadLinkOption(f"The value for “{name}” must be a text, a number, true or false.")
    text = value if isinstance(value, str) else str(value).lower()
    if len(text) > LONGEST_VALUE or not is_storable(text):
        raise BadLinkOption(f"The value for “{name}” is too long: at most {LONGEST_VALUE} characters.")
    return text


def _app_places(catalogue: Catalogue, apps: Sequence[str], name: str, text: str) -> Iterator[tuple[str, str]]:
    for app in apps:
        field = next((f for f in catalogue[app].fields if f.name == name), None)
        if field is None:
            continue
        if field.is_secret:
            raise BadLinkOption(f"“{name}” is a secret: only the end user types it, on the page.")
        try:
            clean(field, text)
        except FieldProblem as problem:
            raise BadLinkOption(f"“{name}”: {problem}") from None
        yield app, app


def _workflow_places(integration: Integration | None, name: str) -> Iterator[tuple[str, str]]:
    # A value that its field can't take is shown with its sentence on the page, as if it had been typed.
    for workflow in integration.workflows if integration else ():
        if name in workflow.field_names:
            yield workflow.id, workflow.name


def _entries(given: Any) -> Iterator[tuple[str, str, Any]]:
    if isinstance(given, Mapping):
        for owner, fields in given.items():
            if not isinstance(fields, Mapping):
                raise BadLinkOption("Write pre-filled values as {app or workflow id: {field: value}}.")
            for name, value in fields.items():
                yield str(owner), str(name), value
        return
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise BadLinkOption("Write pre-filled values as {app or workflow id: {field: value}}.")
    for entry in given:
        if not isinstance(entry, Mapping):
            raise BadLinkOption("Each pre-filled value is an object with `name` and `value`.")
        owner = str(entry.get("app") or entry.get("workflowId") or entry.get("workflowName") or "")
        fields = entry.get("fields")
        for part in fields if isinstance(fields, Sequence) and not isinstance(fields, str) else [entry]:
            if not isinstance(part, Mapping) or "value" not in part:
                raise BadLinkOption("Each pre-filled value is an object with `name` and `value`.")
            yield owner, str(part.get("name") or part.get("fieldName") or ""), part["value"]
