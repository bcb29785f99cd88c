"""What a leg needs to go on with its run: read from the database at its beginning, kept in memory between its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session, joinedload

from portal.clock import now
from portal.credentials.models import InstallationCredential
from portal.credentials.rules import open_values
from portal.db import settings_of, transaction
from portal.integrations.models import Integration
from portal.keys.ring import KeyRing
from portal.runs import rules, turns
from portal.runs.executing import Subject
from portal.runs.masking import Masker, masker_for
from portal.runs.memory import Memory
from portal.runs.models import Run, RunState
from portal.workflows.blocks import blocks_of
from portal.workflows.definition import read_definition
from portal.workflows.models import ChildWorkflow, Workflow, WorkflowVersion


@dataclass
class Held:
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


def take_hold(run_id: str, leg: int) -> Held | None:
    """Let a leg take its turn, and read what it needs; None when there is nothing to do for it."""
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


def _hold(session: Session, run: Run, child: ChildWorkflow, integration: Integration, written: dict[str, Any]) -> Held:
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
    return Held(
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
