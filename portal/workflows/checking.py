"""What single values of a workflow can't know: names that don't fit together, apps and triggers that aren't there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from portal.catalogue import App
from portal.workflows.definition import DEEPEST_LOOPS, Definition, Step, Trigger, comes_ever, key_of
from portal.workflows.expressions import BadExpression, expressions_in, names_in, split

Place = tuple[str | int, ...]
Defects = Iterator[tuple[Place, str]]

ROOTS = ("trigger", "steps", "fields", "ingest")


def check_definition(definition: Definition, apps: Sequence[str], catalogue: Mapping[str, App]) -> Defects:
    """(place, sentence) of everything that would keep the workflow from running."""
    yield from _check_trigger(definition.trigger, apps, catalogue)
    fields = {field.name for field in definition.fields}
    yield from _check_steps(definition.steps, ("steps",), _Known(fields, apps), catalogue)


class _Known:
    """What an expression may name where it stands."""

    def __init__(self, fields: set[str], apps: Sequence[str]) -> None:
        self.fields, self.apps = fields, apps
        self.steps: list[str] = []
        self.later: set[str] = set()
        self.loops = 0


def _check_trigger(trigger: Trigger, apps: Sequence[str], catalogue: Mapping[str, App]) -> Defects:
    place = ("trigger", trigger.kind)
    if trigger.schedule is not None and not comes_ever(trigger.schedule):
        yield place, f"there is no day that “{trigger.schedule}” names: mend its day or its month"
    if not trigger.name:
        return
    app = trigger.app or (apps[0] if len(apps) == 1 else None)
    if app is None:
        yield place, f"say which app it is about: add `app:` with one of {', '.join(apps)}"
    elif app not in apps:
        yield ("trigger", "app"), f"“{app}” is not an app of this integration: add it to `apps`, or name {_any(apps)}"
    elif app in catalogue:
        declared = {name for name, one in catalogue[app].triggers.items() if getattr(one, trigger.kind)}
        if trigger.name not in declared:
            there = f"it has {', '.join(sorted(declared))}" if declared else "it declares none"
            yield place, f"{catalogue[app].title} has no {trigger.kind} called “{trigger.name}”: {there}"


def _check_steps(steps: tuple[Step, ...], place: Place, known: _Known, catalogue: Mapping[str, App]) -> Defects:
    keys = [key_of(step, number) for number, step in enumerate(steps, 1)]
    before = list(known.steps)
    for number, (step, key) in enumerate(zip(steps, keys, strict=True)):
        here = (*place, number)
        if key in known.steps:
            yield (*here, "name"), f"two steps are called “{key}” in expressions: give each a name of its own"
        known.later = set(keys[number:])
        yield from _check_step(step, here, known, catalogue)
        known.steps.append(key)
    known.steps, known.later = before, set()


def _check_step(step: Step, place: Place, known: _Known, catalogue: Mapping[str, App]) -> Defects:
    here = (*place, step.kind)
    if step.request:
        if step.app and step.app not in known.apps:
            yield (*place, "app"), f"“{step.app}” is not an app of this integration: name {_any(known.apps)}"
        yield from _check_address(step, here)
        for name in step.request.headers:
            if "${" in name:
                yield (*here, "headers", name), "the name of a header can’t come from data: write it out"
        values: Any = step.request.model_dump(exclude_unset=True)
        yield from _check_values(values, here, known)
    elif step.for_each:
        if known.loops >= DEEPEST_LOOPS:
            yield here, f"`for_each` can stand in {DEEPEST_LOOPS} levels: take the inner one out"
        yield from _check_values(step.for_each.in_, (*here, "in"), known)
        known.loops += 1
        outer = known.later
        yield from _check_steps(step.for_each.steps, (*here, "steps"), known, catalogue)
        known.loops, known.later = known.loops - 1, outer
    elif step.filter is not None:
        yield from _check_values(step.filter, here, known)
        if not _is_expression(step.filter):
            yield here, "a filter is one expression, such as ${ trigger.total > `10` }"
    else:
        yield from _check_values(step.map, here, known)


def _check_address(step: Step, place: Place) -> Defects:
    assert step.request is not None
    address = step.request.address
    here = (*place, step.request.method)
    if step.app:
        if not address.startswith("/") or "?" in address or "#" in address:
            yield here, "a request to an app has a path that begins with / (its `query` stands beside it)"
    elif not address.startswith(("https://", "http://", "${")):
        yield here, "write a whole address that begins with https://, or name the `app` that the path belongs to"
    elif _leaves_host_open(address):
        yield here, "what comes from data can’t be a part of the host: end the host with / before the ${ … }"


def _leaves_host_open(address: str) -> bool:
    try:
        (kind, first), *rest = split(address)
    except BadExpression:
        return False  # that is said by itself
    return kind == "text" and bool(rest) and re.match(r"https?://[^/?#\s]+[/?#]", first) is None


def _is_expression(text: str) -> bool:
    try:
        pieces = split(text)
    except BadExpression:
        return True  # that is said already
    return len(pieces) == 1 and pieces[0][0] == "expression"


def _check_values(value: Any, place: Place, known: _Known) -> Defects:
    try:
        for below, text in expressions_in(value):
            try:
                for kind, piece in split(text):
                    if kind == "expression":
                        yield from (((*place, *below), told) for told in _check_names(piece, known))
            except BadExpression as problem:
                yield (*place, *below), str(problem)
    except BadExpression as problem:
        yield place, str(problem)


def _check_names(expression: str, known: _Known) -> Iterator[str]:
    roots = [*ROOTS, *(["item", "index"] if known.loops else [])]
    for name, *rest in sorted(names_in(expression)):
        if name not in roots:
            yield f"“{name}” in ${{ {expression} }} is not known here: {_near(name, roots)}"
        elif name == "steps" and rest and rest[0] in known.later:
            yield f"${{ {expression} }} asks for “{rest[0]}”, which has not run yet there: ask for a step above"
        elif name == "steps" and rest and rest[0] not in known.steps:
            yield f"${{ {expression} }} asks for a step “{rest[0]}” that isn’t there: {_near(rest[0], known.steps)}"
        elif name == "fields" and rest and rest[0] not in known.fields:
            yield f"${{ {expression} }} asks for a field “{rest[0]}” that isn’t declared: add it to `fields`"


def _near(name: str, known: Sequence[str]) -> str:
    if not known:
        return "no step stands above this one"
    near = get_close_matches(name, known, n=1)
    return f"did you mean “{near[0]}”?" if near else f"known are {', '.join(known)}"


def _any(apps: Sequence[str]) -> str:
    return " or ".join(apps)
