"""Runs that survive a crash: a leg is one short durable workflow, each step in it a durable step.

The row of a run is the truth; what the engine keeps only drives it on. A step that a crash interrupted is done again
with the same `Idempotency-Key`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import current_app
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from portal.background import durable, step
from portal.clock import now
from portal.db import transaction
from portal.faults import note
from portal.ids import new_id
from portal.keys.ring import KeyRing
from portal.runs import failing, stopping, turns
from portal.runs.executing import Executor, Told
from portal.runs.holding import Held, take_hold
from portal.runs.logs import write_steps
from portal.runs.memory import TooMuch
from portal.runs.models import RunState
from portal.runs.outcomes import (
    Delayed,
    Done,
    Entered,
    Failed,
    Filtered,
    Outcome,
    Refused,
    TryAgain,
    follow,
    shown_of,
    state_of,
)
from portal.workflows.blocks import Block
from portal.workflows.definition import LARGEST_MEMORY
from portal.workflows.sizes import bytes_of

MOST_UNWRITTEN = 20  # steps that are done, and not yet written down

_held: dict[tuple[str, int], Held] = {}


@durable(turns.RUNS)
def run_leg(run_id: str, leg: int) -> None:
    """Go on with a run until it ends, waits, or has to try again later."""
    try:
        while take_step(run_id, leg):
            pass
    finally:
        _held.pop((run_id, leg), None)


@step
def take_step(run_id: str, leg: int) -> bool:
    """Do one step of a run; whether another one follows at once. Safe to repeat."""
    held = _held.pop((run_id, leg), None) or take_hold(run_id, leg)
    if held is None:
        return False
    goes_on = _take(held)
    if goes_on:
        _held[run_id, leg] = held  # only now: what a fault interrupted is read anew
    return goes_on


def _take(held: Held) -> bool:
    present = held.memory.step(held.subject.definition)
    if present is None:
        return _end(held, RunState.succeeded)
    if held.progress + held.steps >= turns.MOST_PROGRESS:
        because = f"It took more than {turns.MOST_PROGRESS} steps: filter first, or repeat for fewer items."
        return _keep(held, held.memory.path, held.subject.blocks[held.memory.place], Told(), Failed(because), now())
    path, block, begun = held.memory.path, held.subject.blocks[held.memory.place], now()
    progress = held.progress
    executor: Executor = current_app.extensions["executor"]
    try:
        told, outcome = executor.execute(held.subject, held.memory, present, begun)
        if isinstance(outcome, Done | Entered | Filtered):
            return _go_on(held, path, block, told, outcome, begun)
        return _keep(held, path, block, told, outcome, begun)
    except (OperationalError, PoolTimeout):
        raise  # the database is busy or away: that passes
    except TooMuch as problem:
        return _break_off(held, progress, path, block, Told(), str(problem), begun)
    except Exception as defect:
        # Doing it again and again would help nobody: the run ends, and the next item has its turn.
        told, because = Told(), f"Something broke on our side. The log has it under {note(defect)}."
        return _break_off(held, progress, path, block, told, because, begun)


def _break_off(held: Held, progress: int, path: str, block: Block, told: Told, because: str, begun: datetime) -> bool:
    """Fail at a step whose outcome could not be kept; what was written down with it was rolled back."""
    held.progress, held.steps, held.logs = progress, 0, [row for row in held.logs if row["path"] != path]
    return _keep(held, path, block, told, Failed(because), begun)


def _go_on(
    held: Held, path: str, block: Block, told: Told, outcome: Done | Entered | Filtered, begun: datetime
) -> bool:
    """Remember what a finished step gave, and write it down once it matters outside. Whether another one follows."""
    definition = held.subject.definition
    follow(held.memory, definition, outcome)
    is_action = isinstance(outcome, Done) and outcome.is_action
    held.steps, held.actions = held.steps + 1, held.actions + int(is_action)
    held.logs.append(_log_of(held, path, block, told, outcome, begun))
    try:
        _require_room(held, getattr(outcome, "output", None))
    except TooMuch as problem:
        return _keep(held, path, block, told, Failed(str(problem)), begun)
    if held.memory.step(definition) is None:
        return _end(held, RunState.filtered if isinstance(outcome, Filtered) else RunState.succeeded)
    if not is_action and held.steps < MOST_UNWRITTEN:
        return True
    with transaction() as session:
        return _write_down(session, held)


def _require_room(held: Held, output: Any) -> None:
    """Raises `TooMuch` when the run remembers more than it may; measured as a whole only when it could be so."""
    held.given += bytes_of(output)
    if held.given > LARGEST_MEMORY // 2:
        held.given = len(held.memory.dump()) - LARGEST_MEMORY // 2


def _end(held: Held, state: RunState) -> bool:
    with transaction() as session:
        _write_down(session, held, end=state)
    return False


def _write_down(session: Session, held: Held, end: RunState | None = None) -> bool:
    """Keep what was done since the last time; False when the run was stopped meanwhile."""
    if not (held.steps or end):
        return True
    keys: KeyRing = current_app.extensions["keys"]
    sealed = None if end else keys.seal(held.memory.dump(), held.run.id)
    made = turns.Progress(held.steps, held.actions, sealed)
    if not turns.advance(session, held.run, held.progress, made, now(), end):
        return False
    _write_logs(session, held)
    held.progress += held.steps
    held.run.actions += held.actions
    held.steps = held.actions = 0
    return True


def _keep(held: Held, path: str, block: Block, told: Told, outcome: Outcome, begun: datetime) -> bool:
    """Write down a step that is not done: the run waits, tries again, pauses or fails. No other one follows at once."""
    if isinstance(outcome, Failed):  # what led there is written down, whatever it holds
        held.steps = 0
    with transaction() as session:
        if _write_down(session, held) and _put_aside(session, held, block, outcome):
            held.logs = [row for row in held.logs if row["path"] != path]
            held.logs.append(_log_of(held, path, block, told, outcome, begun))
            _write_logs(session, held)
    return False


def _put_aside(session: Session, held: Held, block: Block, outcome: Outcome) -> bool:
    """Whether there is something to log."""
    match outcome:
        case Delayed():
            follow(held.memory, held.subject.definition, outcome)
            keys: KeyRing = current_app.extensions["keys"]
            sealed = keys.seal(held.memory.dump(), held.run.id)
            return turns.delay(session, held.run, held.progress, outcome.length, sealed, now())
        case TryAgain():
            at = failing.put_off(
                session,
                held.run,
                held.progress,
                held.masker.sentence(outcome.because),
                wait=outcome.wait,
                is_try=outcome.is_try,
                block_name=block.name,
                now=now(),
            )
            if at is None:
                return _fail(session, held, block, f"{outcome.because} It was tried for a day.")
            return outcome.is_try
        case Refused():
            because = held.masker.sentence(outcome.because)
            credential_id = held.credential_ids[outcome.app]
            if not stopping.pause(session, held.run, held.progress, because, block.name, credential_id):
                return False
            stopping.break_credential(session, credential_id, because, now())
            return True
        case Failed():
            return _fail(session, held, block, outcome.because)
    raise AssertionError(outcome)


def _fail(session: Session, held: Held, block: Block, because: str) -> bool:
    return failing.fail(
        session,
        held.run,
        held.progress,
        held.masker.sentence(because),
        block=(block.id, block.name),
        integration_id=held.integration_id,
        now=now(),
    )


def _log_of(held: Held, path: str, block: Block, told: Told, outcome: Outcome, begun: datetime) -> dict[str, Any]:
    held.masker.learn(getattr(outcome, "output", None))
    because = getattr(outcome, "because", None)
    return {
        "id": new_id(),
        "run_id": held.run.id,
        "number": held.progress + held.steps,
        "path": path,
        "block_id": block.id,
        "name": block.name,
        "kind": block.kind,
        "attempts": 1,
        "started_at": begun,
        "state": state_of(outcome),
        "stopped_at": now(),
        "input": held.masker.log(told.input),
        "output": held.masker.log(shown_of(outcome)),
        "error": held.masker.sentence(because) if because else None,
    }


def _write_logs(session: Session, held: Held) -> None:
    rows, held.logs = held.logs, []
    write_steps(session, rows, may_be_again=bool(held.run.attempts) or held.run.leg > 1)
