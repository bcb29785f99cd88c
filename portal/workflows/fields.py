"""The configurable fields of a workflow: what may be declared, and which values they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from portal.languages import Sentence, sentence
from portal.letters import is_storable

LONGEST_VALUE = 2000

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120, pattern=r"^[^\x00-\x1f]*$")
]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]


class ConfigurableField(BaseModel):
    """Something that a user may set for a workflow."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Slug
    title: Name
    type: Literal["text", "number", "select", "checkbox"] = "text"
    hint: str = ""
    required: bool = False
    options: tuple[str, ...] = ()


class BadValue(ValueError):
    """A value that its field can't take; `message` is the sentence for the person who gave it."""

    def __init__(self, message: Sentence) -> None:
        super().__init__(message)
        self.message = message


def fields_of(definition: Mapping[str, Any]) -> list[ConfigurableField]:
    """The configurable fields of a published version."""
    return [ConfigurableField.model_validate(field) for field in definition.get("fields", ())]


def clean_value(field: ConfigurableField, given: Any) -> str | float | bool | None:
    """The value as it is kept; None when nothing was given. Raises `BadValue`."""
    if field.type == "checkbox":
        is_on = str(given).strip().lower() in ("true", "on", "yes", "y", "1") if given is not None else False
        if field.required and not is_on:
            raise BadValue(sentence("Tick this to go on."))
        return is_on
    text = "" if given is None else str(given).strip()
    if not text:
        if field.required:
            raise BadValue(sentence("Fill in {title}.", title=field.title))
        return None
    if len(text) > LONGEST_VALUE or not is_storable(text):
        raise BadValue(sentence("This is too long: at most {longest} characters.", longest=LONGEST_VALUE))
    if field.type == "number":
        return _number(text)
    if field.type == "select" and text not in field.options:
        raise BadValue(sentence("Choose one of the list."))
    return text


def _number(text: str) -> float:
    try:
        number = float(text.replace(",", ".")) if text.isascii() else float("nan")
    except ValueError:
        number = float("nan")
    if not abs(number) < 1e15:  # also refuses nan
        raise BadValue(sentence("Write a number, such as 12 or 0.5."))
    return int(number) if number == int(number) else number


def clean_values(definition: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """(values to keep, sentence by field that is wrong) for all fields of a version. Unknown names are left out."""
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for field in fields_of(definition):
        try:
            value = clean_value(field, given.get(field.name))
        except BadValue as problem:
            problems[field.name] = str(problem)
        else:
            if value is not None:
                values[field.name] = value
    return values, problems
