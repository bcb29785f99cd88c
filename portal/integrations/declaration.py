"""The integration file: what a vendor's engineer writes, as validated data. Knows no database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from portal.catalogue import App
from portal.integrations.reading import NotReadable, read_yaml
from portal.refusals import Refusal
from portal.workflows.checking import check_definition
from portal.workflows.definition import Definition, ForEach, RequestStep, Step, Trigger
from portal.workflows.fields import ConfigurableField, Name, Slug

Sentence = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300, pattern=r"^[^\x00-\x1f]*$")
]


Place = tuple[int | str, ...]


@dataclass(frozen=True)
class Defect:
    """What is wrong with an integration file, and in which line."""

    line: int | None
    said: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.said}" if self.line else self.said


class IntegrationDefects(Refusal):
    """The integration file can't be applied; every defect is named with its place and the mend."""

    title = "This integration file can’t be applied"
    status = 422

    def __init__(self, source: str, defects: list[Defect]) -> None:
        super().__init__("\n".join(f"{source}: {defect}" for defect in defects))
        self.defects = defects


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WorkflowDeclaration(_Part):
    """One parent workflow. Trigger and steps are kept as they were written; `Definition` reads them."""

    name: Name
    description: Sentence
    trigger: dict[str, Any]
    steps: tuple[dict[str, Any], ...] = ()
    fields: tuple[ConfigurableField, ...] = ()


class IntegrationDeclaration(_Part):
    """A whole integration file."""

    name: Name
    apps: tuple[Slug, ...] = Field(min_length=1, max_length=8)
    workflows: tuple[WorkflowDeclaration, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _no_twins(self) -> IntegrationDeclaration:
        names = [workflow.name for workflow in self.workflows]
        if len(set(names)) < len(names):
            raise ValueError("two workflows have the same name: give each its own")
        if len(set(self.apps)) < len(self.apps):
            raise ValueError("an app is named twice: name each once")
        return self


def read_declaration(path: Path, apps: Mapping[str, App]) -> IntegrationDeclaration:
    """Read and check an integration file; `apps` are those of the catalogue. Raises `IntegrationDefects`."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise IntegrationDefects(str(path), [Defect(None, f"can't be read: {error}.")]) from None
    return parse_declaration(text, apps, source=str(path))


def parse_declaration(text: str, apps: Mapping[str, App], *, source: str) -> IntegrationDeclaration:
    """Check the text of an integration file. Raises `IntegrationDefects` with line numbers."""
    try:
        data, node = read_yaml(text)
    except NotReadable as problem:
        raise IntegrationDefects(source, [Defect(problem.line, f"{problem}.")]) from None
    if data is None:
        empty = "There is nothing in it: write the name, the apps and the workflows of an integration."
        raise IntegrationDefects(source, [Defect(None, empty)])
    try:
        declaration = IntegrationDeclaration.model_validate(data)
    except ValidationError as error:
        raise IntegrationDefects(source, [_told(node, *one) for one in _defects(error)]) from None
    strangers = [
        Defect(
            _line(node, ("apps", i)),
            f"there is no app “{app}” in the catalogue: "
            "`flask catalogue list` names them, `PORTAL_CATALOGUE` adds your own.",
        )
        for i, app in enumerate(declaration.apps)
        if app not in apps
    ]
    defects = strangers or [_told(node, *one) for one in _workflow_defects(declaration, apps)]
    if defects:
        raise IntegrationDefects(source, defects)
    return declaration


def _workflow_defects(declaration: IntegrationDeclaration, apps: Mapping[str, App]) -> Iterator[tuple[Place, str]]:
    for number, workflow in enumerate(declaration.workflows):
        here: Place = ("workflows", number)
        try:
            definition = Definition.model_validate(workflow.model_dump(include={"trigger", "steps", "fields"}))
        except ValidationError as error:
            yield from _defects(error, here)
        else:
            for place, text in check_definition(definition, declaration.apps, apps):
                yield (*here, *place), text


_KEYS = sorted(
    {
        field.alias or name
        for model in (
            IntegrationDeclaration,
            WorkflowDeclaration,
            ConfigurableField,
            Trigger,
            Step,
            RequestStep,
            ForEach,
        )
        for name, field in cast(type[BaseModel], model).model_fields.items()
    }
)


_NAMES = "names with values, each on a line of its own, such as `name: Orders`"
_SHOULD_BE = {"model_type": _NAMES, "dict_type": _NAMES, "tuple_type": "a list", "list_type": "a list"}


def _defects(error: ValidationError, above: Place = ()) -> Iterator[tuple[Place, str]]:
    for one in error.errors(include_input=False, include_url=False):
        place: Place = (*above, *one["loc"])
        if one["type"] == "extra_forbidden":
            near = get_close_matches(str(place[-1]), _KEYS, n=1)
            yield place, "this is not known here: " + (f"did you mean “{near[0]}”?" if near else "take it out")
        elif one["type"] == "missing":
            yield place, "this is missing: add it"
        elif one["type"] in _SHOULD_BE:
            yield place, f"this should be {_SHOULD_BE[one['type']]}"
        else:
            yield place, one["msg"].removeprefix("Value error, ")


def _told(node: yaml.Node | None, place: Place, text: str) -> Defect:
    name = ".".join(str(part) for part in place) or "the file"
    return Defect(_line(node, place), f"{name}: {text}{'' if text.endswith('?') else '.'}")


def _line(node: yaml.Node | None, place: tuple[int | str, ...]) -> int:
    line = 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == part), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def write_declaration(data: Mapping[str, Any]) -> str:
    """What was applied, as the text of an integration file; applying that changes nothing."""
    declaration = IntegrationDeclaration.model_validate(data)
    plain = declaration.model_dump(mode="json", exclude_defaults=True)
    return yaml.dump(plain, Dumper=_Plainly, sort_keys=False, allow_unicode=True, width=110)


class _Plainly(yaml.CSafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        """What stands in two places is written twice."""
        return True
