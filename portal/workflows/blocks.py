"""The blocks of a workflow as the API names them: its trigger and its steps, each with a lasting id."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from portal.workflows.definition import Path, Step, Trigger, read_definition, title_of

TRIGGER: Path = ()


@dataclass(frozen=True)
class Block:
    """One box in the picture of a workflow. `app` is the app that it speaks with, `place` where it stands."""

    id: str
    name: str
    type: Literal["trigger", "action"]
    kind: str
    app: str | None
    place: Path


def blocks_of(workflow_id: str, definition: Mapping[str, Any], apps: Sequence[str]) -> list[Block]:
    """The trigger and the steps of a published version, in order. `apps` are those of its integration."""
    read = read_definition(definition)
    trigger = read.trigger
    app = trigger.app or (apps[0] if len(apps) == 1 else None)
    first = Block(_id(workflow_id, "trigger"), name_of(trigger), "trigger", trigger.kind, app, TRIGGER)
    return [first, *_steps(workflow_id, read.steps, "", ())]


def _steps(workflow_id: str, steps: tuple[Step, ...], above: str, place: Path) -> Iterator[Block]:
    for number, step in enumerate(steps):
        name = title_of(step, number + 1)
        here = (*place, number)
        yield Block(_id(workflow_id, above + name), name, "action", step.kind, step.app, here)
        if step.for_each:
            yield from _steps(workflow_id, step.for_each.steps, f"{above}{name}/", here)


def name_of(trigger: Trigger) -> str:
    """What people call a trigger."""
    said = getattr(trigger, trigger.kind)
    return str(trigger.kind if said is True else said).replace("_", " ")


def _id(workflow_id: str, name: str) -> str:
    return hashlib.sha256(f"{workflow_id}/{name}".encode()).hexdigest()[:24]
