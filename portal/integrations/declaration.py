"""The integration file: what a vendor's engineer writes, as validated data. Knows no database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from portal.catalogue import App
from portal.refusals import Refusal
from portal.workflows.checking import check_definition
from portal.workflows.definition import Definition, ForEach, RequestStep, Step, Trigger
from portal.workflows.fields import ConfigurableField, Name, Slug

Sentence = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300, pattern=r"^[^\x00-\x1f]*$")
]


Place = tuple[int | str, ...]


class IntegrationDefects(Refusal):
    """The integration file can't be applied; every defect is named with its place and the mend."""

    title = "This integration file can’t be applied"

    def __init__(self, source: str, defects: list[str]) -> None:
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
        raise IntegrationDefects(str(path), [f"can't be read: {error}."]) from None
    return parse_declaration(text, apps, source=str(path))


def parse_declaration(text: str, apps: Mapping[str, App], *, source: str) -> IntegrationDeclaration:
    """Check the text of an integration file. Raises `IntegrationDefects` with line numbers."""
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
        if line := _cycle(node, ()):
            raise IntegrationDefects(
                source, [f"line {line}: this goes round in a circle: an alias stands inside itself."]
            )
        data = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise IntegrationDefects(
            source, [f"line {line}: this is not YAML: {getattr(error, 'problem', error)}."]
        ) from None
    try:
        declaration = IntegrationDeclaration.model_validate(data)
    except ValidationError as error:
        raise IntegrationDefects(source, [_told(node, *one) for one in _defects(error)]) from None
    strangers = [
        f"line {_line(node, ('apps', i))}: there is no app “{app}” in the catalogue: "
        "`flask catalogue list` names them, `PORTAL_CATALOGUE` adds your own."
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


def _defects(error: ValidationError, above: Place = ()) -> Iterator[tuple[Place, str]]:
    for one in error.errors(include_input=False, include_url=False):
        place: Place = (*above, *one["loc"])
        if one["type"] == "extra_forbidden":
            near = get_close_matches(str(place[-1]), _KEYS, n=1)
            yield place, "this is not known here: " + (f"did you mean “{near[0]}”?" if near else "take it out")
        elif one["type"] == "missing":
            yield place, "this is missing: add it"
        else:
            yield place, one["msg"].removeprefix("Value error, ")


def _told(node: yaml.Node | None, place: Place, text: str) -> str:
    name = ".".join(str(part) for part in place) or "the file"
    return f"line {_line(node, place)}: {name}: {text}{'' if text.endswith('?') else '.'}"


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


def _cycle(node: yaml.Node | None, above: tuple[int, ...]) -> int:
    """The line of a part that contains itself; 0 when there is none."""
    if node is None or isinstance(node, yaml.ScalarNode):
        return 0
    if id(node) in above:
        return int(node.start_mark.line) + 1
    parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    return next((line for part in parts if (line := _cycle(part, (*above, id(node))))), 0)
