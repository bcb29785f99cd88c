"""The credential form of one app, made from its declaration: what may be typed, cleaned, and said about it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from wtforms import Field as FormField
from wtforms import Form, PasswordField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice  # type: ignore[attr-defined]  # newer than its type stubs
from wtforms.validators import ValidationError

from portal.catalogue import App, Field, FieldProblem, clean
from portal.languages import sentence

_KINDS: dict[str, type[FormField]] = {"secret": PasswordField, "pem": TextAreaField, "select": SelectField}
_TYPES = {"email": "email", "secret": "password"}
_INPUT_MODES = {"url": "url", "host": "url", "email": "email", "number": "decimal"}


def choices(options: Mapping[str, str]) -> list[SelectChoice]:
    """What a list offers: nothing yet, then the options (value to text)."""
    return [SelectChoice("", sentence("Choose…")), *(SelectChoice(value, text) for value, text in options.items())]


class CredentialForm(Form):
    """Base of every app's form. `notes` says, by field, what was changed in what was typed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.notes: dict[str, str] = {}

    @property
    def is_blank(self) -> bool:
        """Whether nothing was typed into it."""
        return not any((field.data or "").strip() for field in self)

    @property
    def is_filled(self) -> bool:
        """Whether every field that is asked for has something in it."""
        return all((field.data or "").strip() for field in self if field.flags.required)

    @property
    def values(self) -> dict[str, str]:
        """The values by the declaration's names; after `validate` they are clean."""
        return {field.short_name: field.data or "" for field in self}


class _Declared:
    """Cleans the value as the declaration says; a problem becomes the field's error."""

    def __init__(self, declaration: Field) -> None:
        self.declaration = declaration
        self.field_flags = {"required": True} if declaration.required else {}

    def __call__(self, form: CredentialForm, field: FormField) -> None:
        try:
            cleaned = clean(self.declaration, field.data or "")
        except FieldProblem as problem:
            raise ValidationError(problem.message) from None
        field.data = cleaned.value
        if cleaned.note:
            form.notes[field.short_name] = cleaned.note


def _attributes(declaration: Field) -> dict[str, Any]:
    """HTML attributes by type. A key is no password of the user's: browsers must not offer one they saved.

    `new-password` is what keeps Chromium, Firefox and Safari from filling in a saved password (they ignore `off`
    on password inputs); the data attributes say the same to the common password managers.
    """
    attributes: dict[str, Any] = {
        "autocomplete": "new-password" if declaration.is_secret else "off",
        "spellcheck": "false",
        "autocapitalize": "none",
        "autocorrect": "off",
        "maxlength": False,
    }
    if declaration.is_secret:
        attributes |= {"data-1p-ignore": "", "data-lpignore": "true", "data-bwignore": ""}
    if declaration.placeholder:
        attributes["placeholder"] = declaration.placeholder
    if declaration.type in _INPUT_MODES:
        attributes["inputmode"] = _INPUT_MODES[declaration.type]
    if declaration.type == "email":
        attributes["autocomplete"] = "email"
    if declaration.type in _TYPES:
        attributes["type"] = _TYPES[declaration.type]
    if declaration.type == "pem":
        attributes["rows"] = 6
    return attributes


@lru_cache(maxsize=256)
def form_class(app: App) -> type[CredentialForm]:
    """The form of `app`; made once."""
    fields: dict[str, Any] = {}
    for declaration in app.fields:
        options: dict[str, Any] = {
            "label": declaration.title,
            "description": declaration.hint,
            "validators": [_Declared(declaration)],
            "render_kw": _attributes(declaration),
        }
        if declaration.type == "select":
            options |= {"choices": choices(declaration.options), "validate_choice": False}
        fields[declaration.name] = _KINDS.get(declaration.type, StringField)(**options)
    return type(f"{app.name.title()}Form", (CredentialForm,), fields)


def form_for(app: App, posted: Any = None, prefilled: Mapping[str, str] | None = None) -> CredentialForm:
    """A form of `app`: as it was posted, else with what was given with the link; its fields are called `app-field`."""
    return form_class(app)(posted, data=dict(prefilled or {}), prefix=f"{app.name}-")
