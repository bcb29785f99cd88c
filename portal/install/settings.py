"""The settings of an installation: a form for each workflow that has configurable fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict
from wtforms import BooleanField, Form, SelectField, StringField
from wtforms import Field as FormField
from wtforms.validators import ValidationError

from portal.install.forms import choices
from portal.installations.rules import current_installation, standing_children, versions_to_install
from portal.links.models import Link
from portal.workflows.fields import BadValue, ConfigurableField, clean_value, fields_of
from portal.workflows.models import ChildWorkflow


class _Declared:
    """Holds the value against the declaration; what is wrong becomes the field's error."""

    def __init__(self, declaration: ConfigurableField) -> None:
        self.declaration = declaration
        self.field_flags = {"required": True} if declaration.required else {}

    def __call__(self, form: Form, field: FormField) -> None:
        try:
            clean_value(self.declaration, field.data)
        except BadValue as problem:
            raise ValidationError(problem.message) from None


@dataclass
class WorkflowSettings:
    """What one workflow asks, and what was answered."""

    workflow_id: str
    title: str
    declared: Sequence[ConfigurableField]
    form: Form
    kept: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # answers that aren't asked for again

    @property
    def errors(self) -> list[tuple[str, str]]:
        """Every problem as (id of the element it belongs to, sentence)."""
        return [(f.id, f.errors[0]) for f in self.form if f.errors]

    @property
    def values(self) -> dict[str, Any]:
        """The answers by the declaration's names."""
        return {**self.kept, **{field.short_name: field.data for field in self.form}}

    @property
    def is_answered(self) -> bool:
        """Whether nothing that is required is missing or wrong; leaves no errors behind."""
        for field in self.declared:
            try:
                clean_value(field, self.values[field.name])
            except BadValue:
                return False
        return True


def lay_out_settings(session: Session, link: Link, posted: MultiDict[str, str] | None = None) -> list[WorkflowSettings]:
    """The workflows of the link that ask something: with what was posted, given with the link, or set before."""
    if link.integration_id is None:
        return []
    earlier = current_installation(session, link.user_id, link.integration_id) if link.user_id else None
    children = {c.workflow_id: c for c in standing_children(session, earlier.id)} if earlier else {}
    found = []
    for parent, version in versions_to_install(session, link, earlier):
        fields = fields_of(version.definition)
        if fields:
            child = children.get(parent.id)
            before = child.values if child else {}
            kept = _answered(child, fields) if child and link.how.is_only_new else {}
            asked = [field for field in fields if field.name not in kept]
            known = {**before, **(link.prefilled or {}).get(parent.id, {})}
            form = settings_form(parent.id, asked, posted, known)
            found.append(WorkflowSettings(parent.id, parent.name, asked, form, kept))
    return found


def _answered(child: ChildWorkflow, fields: Sequence[ConfigurableField]) -> dict[str, Any]:
    """What the child's own version asked for already, and which still holds; a field that was left out stays so."""
    known = {field.name for field in fields_of(child.definition)}
    kept: dict[str, Any] = {}
    for declared in fields:
        if declared.name in known:
            with suppress(BadValue):
                kept[declared.name] = clean_value(declared, child.values.get(declared.name))
    return kept


def settings_form(
    workflow_id: str, fields: Sequence[ConfigurableField], posted: MultiDict[str, str] | None, known: Mapping[str, Any]
) -> Form:
    """The form of a workflow's fields: as it was posted, else with what is `known`."""
    made: dict[str, Any] = {}
    for field in fields:
        options: dict[str, Any] = {"label": field.title, "description": field.hint, "validators": [_Declared(field)]}
        match field.type:
            case "checkbox":
                known = {
                    **known,
                    field.name: clean_value(field.model_copy(update={"required": False}), known.get(field.name)),
                }
                made[field.name] = BooleanField(**options)
            case "select":
                listed = choices({option: option for option in field.options})
                made[field.name] = SelectField(**options, choices=listed, validate_choice=False)
            case "number":
                made[field.name] = StringField(**options, render_kw={"inputmode": "decimal", "autocomplete": "off"})
            case _:
                made[field.name] = StringField(**options, render_kw={"autocomplete": "off"})
    form: Form = type("SettingsForm", (Form,), made)(posted, data=dict(known), prefix=f"w{workflow_id}-")
    return form
