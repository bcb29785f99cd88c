"""The blocks of a workflow as the API names them: its trigger and its steps, each with a lasting id."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Block:
    """One box in the picture of a workflow. `app` is the app that it speaks with, if any."""

    id: str
    name: str
    type: Literal["trigger", "action"]
    app: str | None


def blocks_of(workflow_id: str, definition: Mapping[str, Any], apps: Sequence[str]) -> list[Block]:
    """The trigger and the steps of a published version, in order. `apps` are those of its integration."""
    trigger: Mapping[str, Any] = definition.get("trigger") or {}
    app = trigger.get("app") or (apps[0] if len(apps) == 1 else None)
    kind = next((key for key in trigger if key != "app"), "trigger")
    name = str(trigger.get(kind, kind)).replace("_", " ")
    blocks = [Block(_id(workflow_id, "trigger"), name, "trigger", app)]
    for number, step in enumerate(definition.get("steps") or (), 1):
        name = str(step.get("name") or f"Step {number}")
        blocks.append(Block(_id(workflow_id, name), name, "action", step.get("app")))
    return blocks


def _id(workflow_id: str, name: str) -> str:
    return hashlib.sha256(f"{workflow_id}/{name}".encode()).hexdigest()[:24]
