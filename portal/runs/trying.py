"""Trying a workflow once, step by step, before it is installed anywhere. Only reads the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.catalogue import App
from portal.clock import now
from portal.credentials.models import Credential
from portal.credentials.rules import credentials_of, open_values
from portal.db import settings_of
from portal.http import Answer, Request
from portal.ids import new_id
from portal.integrations.declaration import WorkflowDeclaration
from portal.integrations.models import Integration
from portal.keys.ring import KeyRing
from portal.refusals import Refusal
from portal.runs.executing import Executor, Subject
from portal.runs.masking import masker_for
from portal.runs.memory import Memory, TooMuch
from portal.runs.models import RunState
from portal.runs.outcomes import (
    Delayed,
    Done,
    Entered,
    Failed,
    Filtered,
    Refused,
    TryAgain,
    follow,
    shown_of,
    state_of,
)
from portal.runs.turns import MOST_PROGRESS
from portal.users.models import User
from portal.workflows.blocks import Block, blocks_of
from portal.workflows.definition import read_definition, walk
from portal.workflows.fields import clean_values
from portal.workflows.models import ChildWorkflow, Workflow

NOT_APPLIED = "0" * 24  # the workflow's id, as long as its file wasn't applied


class NoCredential(Refusal):
    """The user has no working credential for an app that the workflow calls."""

    status = 409
    title = "A credential is missing"

    def __init__(self, username: str, app: App, integration: str) -> None:
        super().__init__(
            f"{username} has no working credential for {app.title}. Make a link and finish it with the account that "
            f'should be used: `flask link create --integration "{integration}" --user {username}`.'
        )


class FieldsWrong(Refusal):
    """The workflow's fields want other values."""

    title = "Some fields are missing"

    def __init__(self, problems: Mapping[str, str]) -> None:
        said = " ".join(f"{name}: {text}" for name, text in problems.items())
        super().__init__(f"{said} Give values with `--field NAME=VALUE`.")


class Silent:
    """Stands in the place of what sends requests: nothing leaves, and every answer is empty."""

    def send(
        self, request: Request, *, trusted: bool = False, ceiling: float | None = None, largest: int | None = None
    ) -> Answer:
        """An empty answer."""
        return Answer(200, {}, b"", False, 0.0)


@dataclass(frozen=True)
class TriedStep:
    """One step that was tried; what went in and came out is masked like in a log."""

    path: str
    block: Block
    state: RunState
    input: Any
    output: Any
    because: str | None
    wait: timedelta | None


def prepare(
    session: Session,
    keys: KeyRing,
    catalogue: Mapping[str, App],
    *,
    integration: str,
    apps: tuple[str, ...],
    declared: WorkflowDeclaration,
    user: User,
    item: Any,
    given: Mapping[str, str],
) -> Subject:
    """Everything that a try needs: the user's newest working credentials, and values for the fields.

    What the user has set for an installed copy counts where nothing is `given`. Raises `NoCredential`, `FieldsWrong`.
    """
    definition = declared.model_dump(mode="json", include={"trigger", "steps", "fields"})
    read = read_definition(definition)
    known = {name: catalogue[name] for name in apps}
    credentials = {row.app: row for row in credentials_of(session, user.id) if row.broken_at is None}  # the newest
    _require_credentials(credentials, {step.app for _, step in walk(read.steps) if step.app}, known, user, integration)
    stored = session.scalar(
        sa.select(Workflow).join(Integration).where(Integration.name == integration, Workflow.name == declared.name)
    )
    values, problems = clean_values(definition, {**_set_before(session, user, stored), **given})
    strangers = {name: "There is no such field." for name in given if name not in {f.name for f in declared.fields}}
    if problems or strangers:
        raise FieldsWrong({**strangers, **problems})
    workflow_id = stored.id if stored else NOT_APPLIED
    return Subject(
        run_id=new_id(),
        workflow_id=workflow_id,
        user_id=user.id,
        item=item,
        fields=values,
        ingest=settings_of(session).demo_ingest_url,
        definition=read,
        blocks={block.place: block for block in blocks_of(workflow_id, definition, apps)},
        overrides={},
        apps=known,
        credentials={name: open_values(keys, row) for name, row in credentials.items() if name in known},
    )


def _require_credentials(
    credentials: Mapping[str, Credential], needed: set[str], apps: Mapping[str, App], user: User, integration: str
) -> None:
    for name in sorted(needed - set(credentials)):
        raise NoCredential(user.username, apps[name], integration)


def _set_before(session: Session, user: User, workflow: Workflow | None) -> dict[str, Any]:
    if workflow is None:
        return {}
    values = session.scalar(
        sa.select(ChildWorkflow.values).where(
            ChildWorkflow.user_id == user.id,
            ChildWorkflow.workflow_id == workflow.id,
            ChildWorkflow.removed_at.is_(None),
        )
    )
    return values or {}


def try_steps(executor: Executor, subject: Subject) -> Iterator[TriedStep]:
    """Do one step after the other, as a run does, until one ends it. Delays are said, not waited for."""
    memory, masker = Memory(), masker_for(subject.apps, subject.credentials)
    masker.learn(subject.item)
    for _ in range(MOST_PROGRESS):
        step = memory.step(subject.definition)
        if step is None:
            return
        path, block = memory.path, subject.blocks[memory.place]
        told, outcome = executor.execute(subject, memory, step, now())
        if isinstance(outcome, Done | Entered | Filtered | Delayed):
            follow(memory, subject.definition, outcome)
            try:
                memory.dump()
            except TooMuch as problem:
                outcome = Failed(str(problem))
        masker.learn(getattr(outcome, "output", None))
        because = getattr(outcome, "because", None)
        yield TriedStep(
            path=path,
            block=block,
            state=state_of(outcome),
            input=masker.value(told.input),
            output=None if isinstance(outcome, Delayed) else masker.value(shown_of(outcome)),
            because=masker.sentence(because) if because else None,
            wait=outcome.length if isinstance(outcome, Delayed) else getattr(outcome, "wait", None),
        )
        if isinstance(outcome, Failed | TryAgain | Refused):
            return
