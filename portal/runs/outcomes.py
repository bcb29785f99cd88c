"""What can come of a step, what that means for its run, and what its log shows of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from portal.runs.memory import Memory
from portal.runs.models import RunState
from portal.workflows.definition import Definition


@dataclass(frozen=True)
class Done:
    """The step gave `output`."""

    output: Any
    is_action: bool = False


@dataclass(frozen=True)
class Entered:
    """A `for_each` begins with these items."""

    items: list[Any]


@dataclass(frozen=True)
class Filtered:
    """A filter was false."""


@dataclass(frozen=True)
class Delayed:
    """The run goes on after this long."""

    length: timedelta


@dataclass(frozen=True)
class Failed:
    """The step can't succeed as it stands; `because` is the sentence for the vendor."""

    because: str
    output: Any = None


@dataclass(frozen=True)
class TryAgain:
    """It may succeed later: after `wait` where the other side said so, else by the schedule."""

    because: str
    wait: timedelta | None = None
    is_try: bool = True
    output: Any = None


@dataclass(frozen=True)
class Refused:
    """The app refuses the user's credential."""

    app: str
    because: str
    output: Any = None


Outcome = Done | Entered | Filtered | Delayed | Failed | TryAgain | Refused


def follow(memory: Memory, definition: Definition, outcome: Done | Entered | Filtered | Delayed) -> None:
    """Let the memory go on from the present step to the next one."""
    match outcome:
        case Done():
            memory.give(definition, outcome.output)
        case Entered():
            memory.enter(definition, outcome.items)
        case Filtered():
            memory.skip(definition)
        case Delayed():
            memory.give(definition, None)


_STATES: dict[type, RunState] = {
    Done: RunState.succeeded,
    Entered: RunState.running,
    Filtered: RunState.filtered,
    Delayed: RunState.waiting,
    Failed: RunState.failed,
    TryAgain: RunState.retrying,
    Refused: RunState.paused,
}


def state_of(outcome: Outcome) -> RunState:
    """The state that a step is in after it."""
    return _STATES[type(outcome)]


def shown_of(outcome: Outcome) -> Any:
    """What the log shows as the step's output."""
    match outcome:
        case Entered():
            return {"items": len(outcome.items)}
        case Filtered():
            return False
        case Delayed():
            return {"waits": f"{int(outcome.length / timedelta(seconds=1))}s"}
    return outcome.output
