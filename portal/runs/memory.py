"""What a run remembers between its steps, and which step comes next. Pure: no database, no network."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from portal.workflows.definition import LARGEST_MEMORY, Definition, Step, key_of, walk

_SKIPPED = "\0skipped"


class TooMuch(ValueError):
    """The steps gave more than a run may remember."""


@dataclass
class Loop:
    """A `for_each` under way: where it stands in its list, its items, the present one, what each one gave."""

    at: int
    items: list[Any]
    index: int = 0
    out: list[Any] = field(default_factory=list)


@dataclass
class Memory:
    """Outputs by step, the loops around the present step, and its place in the innermost list."""

    steps: dict[str, Any] = field(default_factory=dict)
    loops: list[Loop] = field(default_factory=list)
    at: int = 0

    @classmethod
    def load(cls, text: bytes | None) -> Memory:
        """Read what `dump` wrote."""
        if text is None:
            return cls()
        data = json.loads(text)
        return cls(data["steps"], [Loop(**loop) for loop in data["loops"]], data["at"])

    def dump(self) -> bytes:
        """As JSON. Raises `TooMuch`."""
        text = json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        if len(text) > LARGEST_MEMORY:
            raise TooMuch(
                f"The steps of this run gave more than {LARGEST_MEMORY // 1000} kB in all: keep less with `map`."
            )
        return text

    def _list(self, definition: Definition) -> tuple[Step, ...]:
        steps = definition.steps
        for loop in self.loops:
            inner = steps[loop.at].for_each
            assert inner is not None
            steps = inner.steps
        return steps

    def step(self, definition: Definition) -> Step | None:
        """The present step; None: the run is at its end."""
        steps = self._list(definition)
        return steps[self.at] if self.at < len(steps) else None

    @property
    def path(self) -> str:
        """The present step's place, such as `2` or, in the fourth turn of a loop, `2.3.0`."""
        return ".".join(str(n) for loop in self.loops for n in (loop.at, loop.index)) + (
            f".{self.at}" if self.loops else str(self.at)
        )

    @property
    def place(self) -> tuple[int, ...]:
        """The same without turns: the step as it stands in the file."""
        return (*(loop.at for loop in self.loops), self.at)

    def scope(self, item: Any, fields: dict[str, Any], ingest: str) -> dict[str, Any]:
        """What expressions may name."""
        scope = {"trigger": item, "steps": self.steps, "fields": fields, "ingest": ingest}
        if self.loops:
            loop = self.loops[-1]
            scope |= {"item": loop.items[loop.index], "index": loop.index}
        return scope

    def give(self, definition: Definition, output: Any) -> None:
        """The present step gave `output`: go on to the next one."""
        step = self.step(definition)
        assert step is not None
        self.steps[key_of(step, self.at + 1)] = output
        self.at += 1
        self._settle(definition, output)

    def enter(self, definition: Definition, items: list[Any]) -> None:
        """The present step repeats its own steps for `items`; what they gave in a turn of a loop around it is gone."""
        step = self.step(definition)
        assert step is not None
        assert step.for_each is not None
        self._forget(step.for_each.steps)
        if not items:
            self.give(definition, [])
            return
        self.loops.append(Loop(self.at, items))
        self.at = 0

    def skip(self, definition: Definition) -> None:
        """A filter was false: leave this turn of the loop, or, outside of one, the run."""
        self.at = len(self._list(definition))
        self._settle(definition, _SKIPPED)

    def _forget(self, steps: tuple[Step, ...]) -> None:
        for path, step in walk(steps):
            self.steps.pop(key_of(step, path[-1] + 1), None)

    def _settle(self, definition: Definition, last: Any) -> None:
        while self.loops and self.at >= len(self._list(definition)):
            loop = self.loops[-1]
            if last is not _SKIPPED:
                loop.out.append(last)
            if loop.index + 1 < len(loop.items):
                self._forget(self._list(definition))
                loop.index, self.at = loop.index + 1, 0
            else:
                self.loops.pop()
                step = self._list(definition)[loop.at]
                self.steps[key_of(step, loop.at + 1)] = last = loop.out
                self.at = loop.at + 1
