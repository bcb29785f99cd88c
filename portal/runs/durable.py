"""Runs that survive a crash: a leg is one short durable workflow, each step in it a durable step.

The row of a run is the truth; what the engine keeps only drives it on. A step that a crash interrupted is done again
with the same `Idempotency-Key`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from flask import current_app
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from portal.background import durable, ended_work, forget_work, hourly, step
from portal.clock import now
from portal.credentials.models import InstallationCredential
from portal.credentials.rules import open_values
from portal.db import settings_of, transaction
from portal.faults import note
from portal.ids import new_id
from portal.integrations.models import Integration
from portal.keys.ring import KeyRing
from portal.runs import rules
from portal.runs.executing import (
    Delayed,
    Done,
    Entered,
    Executor,
    Failed,
    Filtered,
    Outcome,
    Refused,
    Subject,
    Told,
    TryAgain,
)
from portal.runs.logs import erase_runs, forget_old_runs, log_days
from portal.runs.masking import Masker
from portal.runs.memory import Memory, TooMuch
from portal.runs.models import Run, RunState, RunStep
from portal.workflows.blocks import Block, blocks_of
from portal.workflows.definition import read_definition
from portal.workflows.models import Workflow

log = structlog.get_logger(__name__)


@dataclass
class _Held:
    """What a leg keeps in this process between its steps; rebuilt from the database when it isn't there."""

    run: Run
    subject: Subject
    memory: Memory
    progress: int
    masker: Masker
    integration_id: str
    credential_ids: dict[str, str]


_held: dict[tuple[str, int], _Held] = {}


@durable(rules.RUNS)
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
    if present is None or held.progress >= rules.MOST_PROGRESS:
        return _come_to_the_end(held, is_over=present is None)
    at, begun = _Place.of(held), now()
    executor: Executor = current_app.extensions["executor"]
    try:
        told, outcome = executor.execute(held.subject, held.memory, present, begun)
        return _keep(held, at, told, outcome, begun)
    except (OperationalError, PoolTimeout):
        raise  # the database is busy or away: that passes
    except Exception as defect:
        # Doing it again and again would help nobody: the run ends, and the next item has its turn.
        reference = note(defect)
        broken = Failed(f"Something broke on our side. The log has it under {reference}.")
        return _keep(held, at, Told(), broken, begun)


def _take_hold(run_id: str, leg: int) -> _Held | None:
    with transaction() as session:
        run = rules.claim_leg(session, run_id, leg, now())
        return None if run is None else _hold(session, run)


def _hold(session: Session, run: Run) -> _Held:
    keys: KeyRing = current_app.extensions["keys"]
    catalogue = current_app.extensions["catalogue"]
    child = run.child
    workflow = session.get_one(Workflow, child.workflow_id)
    integration = session.get_one(Integration, workflow.integration_id)
    chosen = session.scalars(
        sa.select(InstallationCredential).where(InstallationCredential.installation_id == child.installation_id)
    ).all()
    credentials = {row.app: open_values(keys, row.credential) for row in chosen}
    apps = {name: catalogue[name] for name in integration.apps if name in catalogue}
    secrets = [
        values[field.name]
        for name, values in credentials.items()
        if name in apps
        for field in apps[name].fields
        if field.is_secret and values.get(field.name)
    ]
    memory = Memory.load(keys.open(run.sealed_memory, run.id) if run.sealed_memory else None)
    overrides = {
        str(one.get("blockId") or one.get("name")): one.get("output")
        for one in child.output_override or ()
        if isinstance(one, dict)
    }
    blocks = {block.place: block for block in blocks_of(workflow.id, child.definition, integration.apps)}
    item = overrides.get(blocks[()].id, rules.item_of(keys, run))
    masker = Masker(personal={key for app in apps.values() for key in app.personal}, secrets=secrets)
    masker.learn([item, memory.steps, [loop.items for loop in memory.loops]])
    return _Held(
        run=run,
        subject=Subject(
            run_id=run.id,
            workflow_id=workflow.id,
            user_id=run.user_id,
            item=item,
            fields=child.values,
            ingest=settings_of(session).demo_ingest_url,
            definition=read_definition(child.definition),
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


def _come_to_the_end(held: _Held, *, is_over: bool) -> bool:
    with transaction() as session:
        if is_over:
            rules.finish(session, held.run, held.progress, RunState.succeeded, now())
        else:
            because = f"It took more than {rules.MOST_PROGRESS} steps: filter first, or repeat for fewer items."
            block = held.subject.blocks[held.memory.place]
            rules.fail(
                session,
                held.run,
                held.progress,
                because,
                block=(block.id, block.name),
                integration_id=held.integration_id,
                now=now(),
            )
    return False


@dataclass(frozen=True)
class _Place:
    """Where a step stands: in the run, and in the file."""

    path: str
    block: Block

    @classmethod
    def of(cls, held: _Held) -> _Place:
        return cls(held.memory.path, held.subject.blocks[held.memory.place])


def _keep(held: _Held, at: _Place, told: Told, outcome: Outcome, begun: datetime) -> bool:
    """Write down what came of a step: one transaction. Whether another one follows at once."""
    path, block = at.path, at.block
    is_over = False
    if isinstance(outcome, Done | Entered | Filtered | Delayed):
        outcome, sealed, is_over = _move_on(held, outcome)
    with transaction() as session:
        match outcome:
            case Done() | Entered() | Filtered():
                is_action = isinstance(outcome, Done) and outcome.is_action
                if not rules.advance(session, held.run, held.progress, sealed, is_action=is_action):
                    return False
                _write(session, held, path, block, told, outcome, begun)
                if is_over:
                    state = RunState.filtered if isinstance(outcome, Filtered) else RunState.succeeded
                    rules.finish(session, held.run, held.progress + 1, state, now())
                held.progress += 1
                return not is_over
            case Delayed():
                assert sealed is not None
                if rules.delay(session, held.run, held.progress, outcome.length, sealed, now()):
                    _write(session, held, path, block, told, outcome, begun)
            case TryAgain():
                next_at = rules.put_off(
                    session,
                    held.run,
                    held.progress,
                    held.masker.sentence(outcome.because),
                    wait=outcome.wait,
                    is_try=outcome.is_try,
                    block_name=block.name,
                    now=now(),
                )
                if next_at is None:
                    because = f"{outcome.because} It was tried for a day."
                    if _fail(session, held, block, because):
                        _write(session, held, path, block, told, Failed(because, outcome.output), begun)
                elif outcome.is_try:
                    _write(session, held, path, block, told, outcome, begun)
            case Refused():
                because = held.masker.sentence(outcome.because)
                credential_id = held.credential_ids[outcome.app]
                if rules.pause(session, held.run, held.progress, because, block.name, credential_id):
                    rules.break_credential(session, credential_id, because, now())
                    _write(session, held, path, block, told, outcome, begun)
            case Failed():
                if _fail(session, held, block, outcome.because):
                    _write(session, held, path, block, told, outcome, begun)
    return False


def _fail(session: Session, held: _Held, block: Block, because: str) -> bool:
    return rules.fail(
        session,
        held.run,
        held.progress,
        held.masker.sentence(because),
        block=(block.id, block.name),
        integration_id=held.integration_id,
        now=now(),
    )


def _move_on(held: _Held, outcome: Done | Entered | Filtered | Delayed) -> tuple[Outcome, bytes | None, bool]:
    """Let the memory go on to the next step; (what came of it, the memory sealed, whether the run is over)."""
    keys: KeyRing = current_app.extensions["keys"]
    definition = held.subject.definition
    match outcome:
        case Done():
            held.memory.give(definition, outcome.output)
        case Entered():
            held.memory.enter(definition, outcome.items)
        case Filtered():
            held.memory.skip(definition)
        case Delayed():
            held.memory.give(definition, None)
    if held.memory.step(definition) is None and not isinstance(outcome, Delayed):
        return outcome, None, True
    try:
        return outcome, keys.seal(held.memory.dump(), held.run.id), False
    except TooMuch as problem:
        return Failed(str(problem)), None, False


_STATES: dict[type, RunState] = {
    Done: RunState.succeeded,
    Entered: RunState.running,
    Filtered: RunState.filtered,
    Delayed: RunState.waiting,
    Failed: RunState.failed,
    TryAgain: RunState.retrying,
    Refused: RunState.paused,
}


def _write(
    session: Session, held: _Held, path: str, block: Block, told: Told, outcome: Outcome, begun: datetime
) -> None:
    """The log of a step; further attempts at it go into the same row."""
    held.masker.learn(getattr(outcome, "output", None))
    because = getattr(outcome, "because", None)
    facts: dict[str, Any] = {
        "state": _STATES[type(outcome)],
        "stopped_at": now(),
        "input": held.masker.log(told.input),
        "output": held.masker.log(_shown(outcome)),
        "error": held.masker.sentence(because) if because else None,
    }
    row = None
    if held.run.attempts or held.run.leg > 1:
        row = session.scalar(sa.select(RunStep).where(RunStep.run_id == held.run.id, RunStep.path == path))
    if row is None:
        session.add(
            RunStep(
                id=new_id(),
                run_id=held.run.id,
                number=held.progress,
                path=path,
                block_id=block.id,
                name=block.name,
                kind=block.kind,
                attempts=1,
                started_at=begun,
                **facts,
            )
        )
        return
    row.attempts += 1
    for name, value in facts.items():
        setattr(row, name, value)


def _shown(outcome: Outcome) -> Any:
    match outcome:
        case Entered():
            return {"items": len(outcome.items)}
        case Filtered():
            return False
        case Delayed():
            return {"waits": f"{int(outcome.length / timedelta(seconds=1))}s"}
    return outcome.output


@hourly
def forget_old_logs() -> None:
    """Delete the logs of runs that ended long ago, in small batches."""
    with transaction() as session:
        days = log_days(session)
    while forget_old_runs_once(days):
        pass


def forget_old_runs_once(days: int) -> int:
    """One small batch; how many went."""
    with transaction() as session:
        return forget_old_runs(session, now() - timedelta(days=days))


OVERDUE = timedelta(minutes=15)


@hourly
def take_up_what_was_dropped() -> None:
    """Enqueue again each run that should be under way, but whose leg ended in a fault of ours."""
    with transaction() as session:
        rules.take_up_dropped(session, now() - OVERDUE, ended_work)


@dataclass(frozen=True)
class Erasure:
    """The receipt for a user's logs that are gone: how many runs, steps and records of the engine."""

    user_id: str
    runs: int
    steps: int
    engine_records: int
    erased_at: datetime


def erase_logs(user_id: str) -> Erasure:
    """Delete the logs of all runs of a user that have ended, from our tables and from the engine's, batch by batch.

    Runs that are under way go on; what their steps said so far goes too.
    """
    runs = steps = records = 0
    while True:
        with transaction() as session:
            gone = erase_runs(session, user_id)
        if gone.legs:
            forget_work(gone.legs)
        runs, steps, records = runs + gone.runs, steps + gone.steps, records + len(gone.legs)
        if not gone.runs:
            return Erasure(user_id, runs, steps, records, now())
