"""A workflow as a picture: where each of its boxes stands. Pure: numbers and texts, drawn by a template."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from portal.workflows.blocks import Block, blocks_of

WIDTH = 288  # fits a window of 320
STEP_IN = 16  # what a loop moves its steps to the right
LINE, PADDING, GAP = 18, 12, 28
LETTERS = 8.2  # pixels of a letter, on the wide side


@dataclass(frozen=True)
class Box:
    """One block: its place, its size, and the lines of its name; a line for its kind stands above them."""

    block: Block
    x: int
    y: int
    width: int
    height: int
    lines: tuple[str, ...]
    depth: int


@dataclass(frozen=True)
class Frame:
    """The border around the steps that a loop repeats."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Picture:
    """A whole workflow. `arrows` are (x, from y, to y)."""

    boxes: tuple[Box, ...]
    frames: tuple[Frame, ...]
    arrows: tuple[tuple[int, int, int], ...]
    width: int
    height: int


def draw(workflow_id: str, definition: Mapping[str, Any], apps: Sequence[str]) -> Picture:
    """Lay out a published version. `apps` are those of its integration."""
    boxes: list[Box] = []
    y = 8
    for block in blocks_of(workflow_id, definition, apps):
        box = _box(block, y)
        boxes.append(box)
        y += box.height + GAP
    arrows = tuple(
        (above.x + 20 if below.depth <= above.depth else below.x + 20, above.y + above.height, below.y)
        for above, below in pairwise(boxes)
    )
    return Picture(tuple(boxes), tuple(_frames(boxes)), arrows, WIDTH, y - GAP + 16)


def _box(block: Block, y: int) -> Box:
    depth = max(0, len(block.place) - 1)
    x = 4 + depth * STEP_IN
    width = WIDTH - 8 - 2 * depth * STEP_IN
    room = int((width - 2 * PADDING - (36 if block.app else 0)) / LETTERS)
    lines = textwrap.wrap(block.name, room, max_lines=2, placeholder="…", break_on_hyphens=False) or [block.name[:room]]
    return Box(
        block=block,
        x=x,
        y=y,
        width=width,
        height=2 * PADDING + (len(lines) + 1) * LINE,
        lines=tuple(lines),
        depth=depth,
    )


def _frames(boxes: Sequence[Box]) -> list[Frame]:
    frames = []
    for number, box in enumerate(boxes):
        if box.block.kind != "for_each":
            continue
        place = box.block.place
        inside = [one for one in boxes[number + 1 :] if one.block.place[: len(place)] == place]
        first, last = inside[0], inside[-1]
        frames.append(
            Frame(first.x - 8, first.y - 10, first.width + 16, last.y + last.height - first.y + 18 - 4 * last.depth)
        )
    return frames
