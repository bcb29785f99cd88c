"""Runs as people read them: which ones, and one of them as a timeline. Nothing here shows what logs don't show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, defer, joinedload

from portal.catalogue import App
from portal.credentials.models import InstallationCredential
from portal.credentials.rules import open_values
from portal.integrations.models import Integration
from portal.keys.ring import SealBroken, keys_of
from portal.runs.errors import UnknownRun
from portal.runs.masking import LOGGED, masker_for, read_log
from portal.runs.models import Run, RunState, RunStep
from portal.runs.rules import item_of
from portal.workflows.models import ChildWorkflow

STEPS = 25  # of a timeline on one page
MOST_RERUNS = 20


def select_runs(
    *,
    state: RunState | None = None,
    workflow_id: str | None = None,
    since: datetime | None = None,
) -> sa.Select[Run]:
    """Runs like this with whose they are; without what they keep sealed."""
    statement = sa.select(Run).options(
        joinedload(Run.user), joinedload(Run.workflow), defer(Run.sealed_item), defer(Run.sealed_memory)
    )
    if state is not None:
        statement = statement.where(Run.state == state)
    if workflow_id is not None:
        statement = statement.where(Run.workflow_id == workflow_id)
    if since is not None:
        statement = statement.where(Run.created_at >= since)
    return statement


def load_run(session: Session, run_id: str) -> Run:
    """One run with whose it is and of which child. Raises `UnknownRun`."""
    found = session.scalar(
        sa.select(Run)
        .where(Run.id == run_id)
        .options(joinedload(Run.user), joinedload(Run.workflow), joinedload(Run.child), defer(Run.sealed_memory))
    )
    if found is None:
        raise UnknownRun(run_id)
    return found


def reruns_of(session: Session, run: Run) -> list[Run]:
    """The runs that were started anew from this one, newest first."""
    return list(
        session.scalars(
            select_runs().where(Run.rerun_of == run.id).order_by(Run.created_at.desc(), Run.id).limit(MOST_RERUNS)
        )
    )


def shown_item(session: Session, run: Run) -> str | None:
    """What the run began with, as the log would show it; None when it isn't kept, or can't be opened any more."""
    if run.sealed_item is None:
        return None
    catalogue: Mapping[str, App] = session.info["catalogue"]
    keys = keys_of(session)
    integration = session.get_one(Integration, run.workflow.integration_id)
    apps = {name: catalogue[name] for name in integration.apps if name in catalogue}
    chosen = session.scalars(
        sa.select(InstallationCredential)
        .where(InstallationCredential.installation_id == run.child.installation_id)
        .options(joinedload(InstallationCredential.credential))
    )
    try:
        credentials = {row.app: open_values(keys, row.credential) for row in chosen}
        item = item_of(keys, run)
    except SealBroken:
        return None
    masker = masker_for(apps, credentials)
    masker.learn(item)
    return readable(read_log(masker.log(item)))


def readable(value: Any) -> str:
    """A logged value as text for people; what was cut stays cut."""
    if isinstance(value, Mapping) and set(value) == {"cut"}:
        return str(value["cut"])
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


@dataclass(frozen=True)
class Asked:
    """A request as it was logged."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str | None


@dataclass(frozen=True)
class StepView:
    """One step of a timeline. `turn` counts from 1 in the loops around it, the outer one first."""

    row: RunStep
    turns: tuple[int, ...]
    asked: Asked | None
    given: str | None  # what went in, where it is no request
    status: int | None  # what the other side answered
    gave: str | None
    is_cut: bool

    @property
    def took(self) -> timedelta | None:
        """How long it took, with all its attempts."""
        return self.row.stopped_at - self.row.started_at if self.row.stopped_at else None


@dataclass(frozen=True)
class Timeline:
    """A page of a run's steps; `first` counts from 1."""

    steps: list[StepView]
    first: int
    count: int

    @property
    def last(self) -> int:
        """The number of the last step on the page."""
        return self.first + len(self.steps) - 1

    @property
    def page_size(self) -> int:
        """How many steps a page has."""
        return STEPS


def timeline(session: Session, run: Run, first: int) -> Timeline:
    """The steps of a run from the `first` one on, in the order in which they were begun."""
    count = session.scalar(sa.select(sa.func.count()).select_from(RunStep).where(RunStep.run_id == run.id)) or 0
    first = max(1, min(first, count))
    rows = session.scalars(
        sa.select(RunStep)
        .where(RunStep.run_id == run.id)
        .order_by(RunStep.number, RunStep.started_at)
        .offset(first - 1)
        .limit(STEPS)
    )
    return Timeline([_view(row) for row in rows], first, count)


def _view(row: RunStep) -> StepView:
    given, gave = read_log(row.input), read_log(row.output)
    asked = _asked(given) if row.kind == "request" else None
    status = gave.get("status") if row.kind == "request" and isinstance(gave, Mapping) else None
    if isinstance(status, int) and isinstance(gave, Mapping) and set(gave) == {"status", "body"}:
        gave = gave["body"]
    else:
        status = None
    return StepView(
        row=row,
        turns=tuple(int(part) + 1 for part in row.path.split(".")[1:-1:2]),
        asked=asked,
        given=None if asked or given is None else readable(given),
        status=status,
        gave=None if gave is None else readable(gave),
        is_cut=any(text is not None and len(text) > LOGGED for text in (row.input, row.output)),
    )


def _asked(given: Any) -> Asked | None:
    if not isinstance(given, Mapping) or not {"method", "url", "headers", "body"} <= set(given):
        return None
    body = given["body"]
    return Asked(
        str(given["method"]), str(given["url"]), dict(given["headers"]), None if body is None else readable(body)
    )


def can_rerun(run: Run) -> bool:
    """Whether it can be started anew: its item is kept, and its child takes something."""
    child: ChildWorkflow = run.child
    return run.sealed_item is not None and child.is_active and child.removed_at is None
