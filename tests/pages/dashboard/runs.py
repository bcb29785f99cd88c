"""Runs as rows, made by the rules and then brought to where a test wants them: no engine runs beside these tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask import Flask

from portal.clock import now
from portal.db import transaction
from portal.environments import Environment
from portal.runs.models import Run, RunState, RunStep
from portal.runs.rules import Item, record_items
from portal.workflows.models import ChildWorkflow, WorkflowVersion

SENT = (
    '{"method": "POST", "url": "https://vendor.example/orders", "headers": {"X-Alloy-UserId": "u1"}, '
    '"body": {"order": 7}}'
)


@dataclass
class Runs:
    """The runs of whatever the test has installed."""

    app: Flask

    def child(self, installation: str) -> str:
        """The (first) child of an installation."""
        with self.app.app_context(), transaction() as session:
            return session.scalars(
                sa.select(ChildWorkflow.id).where(ChildWorkflow.installation_id == installation)
            ).first()

    def make(self, child: str, state: RunState = RunState.succeeded, *, item: Any = None, **facts: Any) -> str:
        """A run in this state; its id."""
        ended = state not in (RunState.queued, RunState.running, RunState.retrying, RunState.waiting, RunState.paused)
        with self.app.app_context(), transaction(Environment.production) as session:
            found = session.get_one(ChildWorkflow, child)
            assert session.get_one(WorkflowVersion, found.version_id)
            (run,) = record_items(
                session, found, [Item({"id": 1} if item is None else item)], trigger="poll", now=now()
            )
            run.state, run.started_at, run.ended_at = state, now(), now() if ended else None
            for name, value in facts.items():
                setattr(run, name, value)
            return run.id

    def step(self, run: str, number: int = 0, **facts: Any) -> None:
        """A step in the log of a run."""
        row = {
            "number": number,
            "path": str(number),
            "block_id": "b" * 24,
            "name": "Send the order",
            "kind": "request",
            "state": RunState.succeeded,
            "started_at": now(),
            "stopped_at": now(),
            **facts,
        }
        with self.app.app_context(), transaction() as session:
            session.add(RunStep(run_id=run, **row))

    def see(self, run: str) -> Run:
        """The row as it stands."""
        with self.app.app_context(), transaction() as session:
            return session.get_one(Run, run)
