"""Loading declarations, and `check`: every defect with file, line and the mend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from portal.catalogue.declarations import App, Auth, Basic, Field, TestRequest

APPS = Path(__file__).parent / "apps"


@dataclass(frozen=True)
class Defect:
    """One thing that is wrong in a declaration, where, and how to mend it."""

    file: Path
    line: int
    message: str
    mend: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message} {self.mend}".strip()


class CatalogueDefects(Exception):
    """The catalogue can't be loaded; `defects` names every reason."""

    def __init__(self, defects: list[Defect]) -> None:
        super().__init__("\n".join(str(defect) for defect in defects))
        self.defects = defects


class Catalogue(Mapping[str, App]):
    """Every known app by its name."""

    def __init__(self, apps: Iterable[App]) -> None:
        self._apps = {app.name: app for app in apps}

    def __getitem__(self, name: str) -> App:
        return self._apps[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._apps)

    def __len__(self) -> int:
        return len(self._apps)


def load_catalogue(extra: Iterable[Path] = ()) -> Catalogue:
    """The portal's own apps and those in `extra` files or folders (the later wins). Raises `CatalogueDefects`."""
    apps: list[App] = []
    defects: list[Defect] = []
    for place in (APPS, *extra):
        found, wrong = _read_all(place)
        apps += found
        defects += wrong
    if defects:
        raise CatalogueDefects(defects)
    return Catalogue(apps)


def check(place: Path) -> list[Defect]:
    """Every defect of the declarations at `place`, a file or a folder."""
    return _read_all(place)[1]


def _read_all(place: Path) -> tuple[list[App], list[Defect]]:
    if not place.exists():
        return [], [Defect(place, 1, "There is nothing here.", "Check the path.")]
    files = sorted([*place.glob("*.yaml"), *place.glob("*.yml")]) if place.is_dir() else [place]
    apps: list[App] = []
    defects: list[Defect] = [] if files else [Defect(place, 1, "No *.yaml file is in this folder.", "Check the path.")]
    for file in files:
        result = _read(file)
        if isinstance(result, App):
            apps.append(result)
        else:
            defects += result
    return apps, defects


def _read(file: Path) -> App | list[Defect]:
    try:
        text = file.read_text("utf-8")
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
        data = yaml.load(text, Loader=yaml.CSafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        return [Defect(file, 1, f"The file can't be read ({type(error).__name__}).", "Save it as UTF-8 text.")]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        return [
            Defect(
                file,
                mark.line + 1 if mark else 1,
                f"This is not YAML: {getattr(error, 'problem', error)}.",
                "Mend the line, often its indentation or a colon.",
            )
        ]
    defects = [Defect(file, line, f"“{key}” is there twice.", "Keep one of them.") for key, line in _twins(node)]
    try:
        app = App.model_validate(data)
    except ValidationError as error:
        return defects + [d for e in error.errors(include_url=False) for d in _defects(file, node, data, e)]
    if file.stem != app.name:
        defects.append(
            Defect(
                file,
                _line(node, ("name",)),
                f"The app is called “{app.name}”, the file isn't.",
                f"Call the file {app.name}.yaml.",
            )
        )
    return defects or app


def _twins(node: yaml.Node | None) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.value, key.start_mark.line + 1
            seen.add(key.value)
            yield from _twins(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _twins(value)


def _defects(file: Path, node: yaml.Node | None, data: Any, error: Any) -> Iterator[Defect]:
    if error["type"] == "defects":
        for key, text in error["ctx"]["defects"]:
            yield Defect(file, _line(node, (key,)), f"{key}:", f"{text}.")
        return
    place = tuple(part for part in error["loc"] if part != "literal['any']" and "tuple[" not in str(part))
    line = _line(node, place)
    if len(place) > 1 and place[0] == "fields" and isinstance(place[1], int):
        place = ("fields", list(data["fields"])[place[1]], *place[2:])
    name = ".".join(str(part) for part in place) or "the file"
    if error["type"] == "extra_forbidden":
        yield Defect(file, line, f"“{name}” is not known here.", _nearest(place))
    elif error["type"] == "missing":
        yield Defect(file, line, f"“{name}” is missing.", "Add it.")
    elif not (name == "fields" and error["type"] == "too_short" and data["fields"]):
        # (a broken field is left out of the tuple, which then is too short: the field's own defect says it)
        yield Defect(file, line, f"{name}:", f"{error['msg'].removeprefix('Value error, ')}.")


_KEYS = sorted({key for model in (App, Field, Auth, Basic, TestRequest) for key in model.model_fields})


def _nearest(place: tuple[int | str, ...]) -> str:
    near = get_close_matches(str(place[-1]), _KEYS, n=1)
    return f"Did you mean “{near[0]}”?" if near else "Take it out."


def _line(node: yaml.Node | None, place: tuple[int | str, ...]) -> int:
    """The line of what `place` names, or of the nearest thing around it."""
    line = 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            # The fields of an app are a mapping in the file and a sequence in the model.
            pairs = node.value
            found = pairs[part] if isinstance(part, int) and part < len(pairs) else None
            found = found or next((pair for pair in pairs if pair[0].value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def json_schema() -> dict[str, Any]:
    """The JSON Schema of an app's file, for editors. `fields` is a mapping from name to field there."""
    schema = App.model_json_schema()
    field = schema["properties"]["fields"]["items"]
    schema["properties"]["fields"] = {"type": "object", "additionalProperties": field, "minProperties": 1}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
