"""Runs that survive a crash: a leg is one short durable workflow, each step in it a durable step.

The row of a run is the truth; what the engine keeps only drives it on. A step that a crash interrupted is done again
with the same `Idempotency-Key`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, joinedload

from portal.background import durable, step
from portal.clock import now
from portal.credentials.models import InstallationCredential
from portal.credentials.rules import open_values
from portal.db import settings_of, transaction
from portal.faults import note
from portal.ids import new_id
from portal.integrations.models import Integration
from portal.keys.ring import KeyRing
from portal.runs import rules, stopping, turns
from portal.runs.executing import Executor, Subject, Told
from portal.runs.masking import Masker, masker_for
from portal.runs.memory import Memory, TooMuch
from portal.runs.models import Run, RunState, RunStep
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
from portal.workflows.blocks import Block, blocks_of
from portal.workflows.definition import LARGEST_MEMORY, read_definition
from portal.workflows.models import ChildWorkflow, Workflow, WorkflowVersion
from portal.workflows.sizes import bytes_of


@dataclass
class _Held:
    """What a leg keeps in this process between its steps; rebuilt from the database when it isn't there.

    `steps`, `actions` and `logs` are of finished steps that only picked and chose: they are written down with the next
    step that reaches outside, or with the end. After a crash they are done again, and give the same.
    """

    run: Run
    subject: Subject
    memory: Memory
    progress: int
    masker: Masker
    integration_id: str
    credential_ids: dict[str, str]
    steps: int = 0
    actions: int = 0
    given: int = 0  # bytes that steps gave since the memory was measured
    logs: list[dict[str, Any]] = field(default_factory=list)


MOST_UNWRITTEN = 20  # steps that are done, and not yet written down

_held: dict[tuple[str, int], _Held] = {}


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
    held = _held.pop((run_id, leg), None) or _take_hold(run_id, leg)
    if held is None:
        return False
    goes_on = _take(held)
    if goes_on:
        _held[run_id, leg] = held  # only now: what a fault interrupted is read anew
    return goes_on


def _take(held: _Held) -> bool:
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


def _break_off(held: _Held, progress: int, path: str, block: Block, told: Told, because: str, begun: datetime) -> bool:
    """Fail at a step whose outcome could not be kept; what was written down with it was rolled back."""
    held.progress, held.steps, held.logs = progress, 0, [row for row in held.logs if row["path"] != path]
    return _keep(held, path, block, told, Failed(because), begun)


def _take_hold(run_id: str, leg: int) -> _Held | None:
    with transaction() as session:
        if not turns.claim_leg(session, run_id, leg, now()):
            return None
        found = session.execute(_WHOLE, {"run_id": run_id, "this_leg": leg}).one_or_none()
        if found is None:
            return None
        run, child, integration, version = found
        if version.id == child.version_id:
            return _hold(session, run, child, integration, child.definition)
        if run.progress:  # what has begun is finished as it began
            return _hold(session, run, child, integration, version.definition)
        run.version = session.get_one(WorkflowVersion, child.version_id).number
        return _hold(session, run, child, integration, child.definition)


_WHOLE = (
    sa.select(Run, ChildWorkflow, Integration, WorkflowVersion)
    .join(ChildWorkflow, Run.child_id == ChildWorkflow.id)
    .join(Workflow, Run.workflow_id == Workflow.id)
    .join(Integration, Workflow.integration_id == Integration.id)
    .join(
        WorkflowVersion, sa.and_(WorkflowVersion.workflow_id == Run.workflow_id, WorkflowVersion.number == Run.version)
    )
    .where(Run.id == sa.bindparam("run_id"), Run.leg == sa.bindparam("this_leg"), Run.state == RunState.running)
)
_CREDENTIALS = (
    sa.select(InstallationCredential)
    .where(InstallationCredential.installation_id == sa.bindparam("installation"))
    .options(joinedload(InstallationCredential.credential))
)


def _hold(session: Session, run: Run, child: ChildWorkflow, integration: Integration, written: dict[str, Any]) -> _Held:
    keys: KeyRing = current_app.extensions["keys"]
    catalogue = current_app.extensions["catalogue"]
    chosen = session.scalars(_CREDENTIALS, {"installation": child.installation_id}).all()
    credentials = {row.app: open_values(keys, row.credential) for row in chosen}
    apps = {name: catalogue[name] for name in integration.apps if name in catalogue}
    memory = Memory.load(keys.open(run.sealed_memory, run.id) if run.sealed_memory else None)
    overrides = {
        str(one.get("blockId") or one.get("name")): one.get("output")
        for one in child.output_override or ()
        if isinstance(one, dict)
    }
    blocks = {block.place: block for block in blocks_of(run.workflow_id, written, integration.apps)}
    item = overrides.get(blocks[()].id, rules.item_of(keys, run))
    masker = masker_for(apps, credentials)
    masker.learn([item, memory.steps, [loop.items for loop in memory.loops]])
    return _Held(
        run=run,
        subject=Subject(
            run_id=run.id,
            workflow_id=run.workflow_id,
            user_id=run.user_id,
            item=item,
            fields=child.values,
            ingest=settings_of(session).demo_ingest_url,
            definition=read_definition(written),
            blocks=blocks,
            overrides=overrides,
            apps=apps,
            credentials=credentials,
        ),
        memory=memory,
        progress=run.progress,
        masker=masker,
        integration_id=integration.id,
        credential_ids={row.app: row.credential_id for row in chosen},
    )


def _go_on(
    held: _Held, path: str, block: Block, told: Told, outcome: Done | Entered | Filtered, begun: datetime
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


def _require_room(held: _Held, output: Any) -> None:
    """Raises `TooMuch` when the run remembers more than it may; measured as a whole only when it could be so."""
    held.given += bytes_of(output)
    if held.given > LARGEST_MEMORY // 2:
        held.given = len(held.memory.dump()) - LARGEST_MEMORY // 2


def _end(held: _Held, state: RunState) -> bool:
    with transaction() as session:
        _write_down(session, held, end=state)
    return False


def _write_down(session: Session, held: _Held, end: RunState | None = None) -> bool:
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


def _keep(held: _Held, path: str, block: Block, told: Told, outcome: Outcome, begun: datetime) -> bool:
    """Write down a step that is not done: the run waits, tries again, pauses or fails. No other one follows at once."""
    if isinstance(outcome, Failed):  # what led there is written down, whatever it holds
        held.steps = 0
    with transaction() as session:
        if _write_down(session, held) and _put_aside(session, held, block, outcome):
            held.logs = [row for row in held.logs if row["path"] != path]
            held.logs.append(_log_of(held, path, block, told, outcome, begun))
            _write_logs(session, held)
    return False


def _put_aside(session: Session, held: _Held, block: Block, outcome: Outcome) -> bool:
    """Whether there is something to log."""
    match outcome:
        case Delayed():
            follow(held.memory, held.subject.definition, outcome)
            keys: KeyRing = current_app.extensions["keys"]
            sealed = keys.seal(held.memory.dump(), held.run.id)
            return turns.delay(session, held.run, held.progress, outcome.length, sealed, now())
        case TryAgain():
            at = turns.put_off(
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


def _fail(session: Session, held: _Held, block: Block, because: str) -> bool:
    return turns.fail(
        session,
        held.run,
        held.progress,
        held.masker.sentence(because),
        block=(block.id, block.name),
        integration_id=held.integration_id,
        now=now(),
    )


def _log_of(held: _Held, path: str, block: Block, told: Told, outcome: Outcome, begun: datetime) -> dict[str, Any]:
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


def _write_logs(session: Session, held: _Held) -> None:
    """The logs of steps; further attempts at one go into the same row."""
    rows, held.logs = held.logs, []
    if held.run.attempts or held.run.leg > 1:
        rows = [row for row in rows if not _is_again(session, row)]
    if rows:
        session.execute(_NEW_LOG, rows)


_NEW_LOG = sa.insert(RunStep)


def _is_again(session: Session, facts: dict[str, Any]) -> bool:
    row = session.scalar(sa.select(RunStep).where(RunStep.run_id == facts["run_id"], RunStep.path == facts["path"]))
    if row is None:
        return False
    row.attempts += 1
    for name in ("state", "stopped_at", "input", "output", "error"):
        setattr(row, name, facts[name])
    session.flush()
    return True
