"""Why nothing is happening: how a child stands, as facts. The words for each of them live in the templates."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session, defer, joinedload

from portal.credentials.models import Credential, InstallationCredential
from portal.integrations.models import Integration
from portal.runs import rules
from portal.runs.models import Run, RunState
from portal.triggers.models import Hook, Watch
from portal.triggers.rules import trigger_of
from portal.workflows.definition import Trigger, read_definition, walk
from portal.workflows.fields import ConfigurableField, clean_values, fields_of
from portal.workflows.models import ChildWorkflow, Workflow

MOST_COUNTED = 1000
OVERDUE = timedelta(minutes=2)  # then it isn't slow: nobody asks


class Standing(enum.StrEnum):
    """What keeps a child from running, the most telling first; `ready`: nothing does."""

    removed = "removed"
    inactive = "inactive"
    not_connected = "not_connected"
    paused = "paused"
    held_up = "held_up"
    no_engine = "no_engine"
    full = "full"
    not_registered = "not_registered"
    app_fails = "app_fails"
    ready = "ready"


@dataclass(frozen=True)
class Explanation:
    """Everything that there is to say about what a child waits for. `queue` counts up to `MOST_COUNTED`."""

    child: ChildWorkflow
    standing: Standing
    trigger: Trigger
    app: str | None  # whom the trigger is about
    missing: list[str]  # apps without a credential
    refused: list[Credential]
    watch: Watch | None
    hook: Hook | None
    queue: int
    waiting_most: int  # how many may wait for their turn, if so many do that nothing more is taken; else 0
    holding: Run | None  # the run that the others wait for
    newest: int
    asks: list[ConfigurableField]  # what an upgrade needs to know first

    @property
    def others(self) -> int:
        """How many runs wait for the one that holds them up."""
        return max(0, self.queue - 1)


def explain(session: Session, child: ChildWorkflow, now: datetime) -> Explanation:
    """How a child stands at this moment."""
    trigger = trigger_of(child)
    workflow = session.get_one(Workflow, child.workflow_id, options=[joinedload(Workflow.newest)])
    apps = session.get_one(Integration, workflow.integration_id).apps
    app = (trigger.app or apps[0]) if trigger.name else None
    rows = session.scalars(
        sa.select(InstallationCredential)
        .where(InstallationCredential.installation_id == child.installation_id)
        .options(joinedload(InstallationCredential.credential))
    ).all()
    watch, hook = session.get(Watch, child.id), session.get(Hook, child.id)
    holding = _holding(session, child)
    is_full = trigger.kind in ("poll", "webhook") and not rules.has_room(session, child)
    used = {app} | {step.app for _, step in walk(read_definition(child.definition).steps)}
    missing = sorted(used - {row.app for row in rows} - {None}, key=str)
    return Explanation(
        child=child,
        standing=_standing(child, trigger, missing, watch, hook, holding, now, is_full=is_full),
        trigger=trigger,
        app=app,
        missing=[str(name) for name in missing],
        refused=[row.credential for row in rows if row.credential.broken_at is not None],
        watch=watch,
        hook=hook,
        queue=_count(session, child),
        waiting_most=rules.MOST_AHEAD if is_full else 0,
        holding=holding,
        newest=workflow.version,
        asks=asked_by_upgrade(child, workflow),
    )


def asked_by_upgrade(child: ChildWorkflow, workflow: Workflow) -> list[ConfigurableField]:
    """The fields of the newest version that need an answer which the child doesn't have."""
    if workflow.newest.id == child.version_id:
        return []
    _, problems = clean_values(workflow.newest.definition, child.values)
    return [field for field in fields_of(workflow.newest.definition) if field.name in problems]


def _standing(
    child: ChildWorkflow,
    trigger: Trigger,
    missing: list[str | None],
    watch: Watch | None,
    hook: Hook | None,
    holding: Run | None,
    now: datetime,
    *,
    is_full: bool,
) -> Standing:
    is_watched = trigger.kind in ("poll", "schedule")
    is_late = watch is not None and watch.next_at is not None and watch.next_at < now - OVERDUE
    is_stuck = holding is not None and holding.state is RunState.queued and holding.created_at < now - OVERDUE
    checks = (
        (Standing.removed, child.removed_at is not None),
        (Standing.inactive, not child.is_active),
        (Standing.not_connected, bool(missing)),
        (Standing.paused, child.paused_at is not None),
        (Standing.held_up, holding is not None and holding.state is RunState.retrying),
        (Standing.no_engine, (is_watched and is_late) or is_stuck),
        (Standing.full, is_full),
        (Standing.not_registered, trigger.kind == "webhook" and hook is not None and hook.error is not None),
        (Standing.app_fails, is_watched and watch is not None and watch.error is not None),
    )
    return next((standing for standing, is_so in checks if is_so), Standing.ready)


def _holding(session: Session, child: ChildWorkflow) -> Run | None:
    return session.scalar(
        sa.select(Run)
        .where(Run.child_id == child.id, Run.ended_at.is_(None), Run.state != RunState.waiting)
        .options(defer(Run.sealed_item), defer(Run.sealed_memory))
        .order_by(Run.number)
        .limit(1)
    )


def _count(session: Session, child: ChildWorkflow) -> int:
    some = sa.select(Run.id).where(Run.child_id == child.id, Run.ended_at.is_(None)).limit(MOST_COUNTED).subquery()
    return session.scalar(sa.select(sa.func.count()).select_from(some)) or 0
