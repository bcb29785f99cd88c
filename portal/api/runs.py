"""Runs of workflows: started, listed, counted, forgotten."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from portal.api.access import audit, own, the_user, user_if_named
from portal.api.hooks import resource
from portal.api.shapes import Body, Message, Moment, OfUser, Ref, Reply, UserQuery, either, optional
from portal.clock import now
from portal.installations.changing import children_of, find_child
from portal.runs.counting import count_runs
from portal.runs.errors import UnknownRun
from portal.runs.forgetting import erase_logs
from portal.runs.logs import list_runs
from portal.runs.masking import read_log
from portal.runs.models import Run
from portal.runs.rules import find_run, start_run
from portal.runs.rules import rerun as run_again
from portal.workflows.definition import read_definition
from portal.workflows.rules import find_workflow

MOST_ERRORS = 100

runs = resource("runs", __name__, tag="Runs")


class RunWorkflow(Body):
    """A workflow of a user, and the data that it starts with."""

    model_config = either("workflowId", "workflowName")

    user_id: Ref
    workflow_id: Ref = ""
    workflow_name: Ref = ""
    data: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> RunWorkflow:
        if not (self.workflow_id or self.workflow_name):
            raise ValueError("send `workflowId` or `workflowName`")
        return self


class RunEvent(Body):
    """An event of the vendor's own, and its data."""

    event: Ref
    user_id: Ref
    data: dict[str, Any] | None = None


class Analytics(Reply):
    """What a workflow did so far."""

    total_app_actions: int
    total_workflow_runs: int
    total_errors: int


class BlockResult(Reply):
    """What one block of a run gave."""

    block_id: str
    started_at: Moment
    stopped_at: Moment | None
    data: list[list[dict[str, Any]]]


class RunFacts(Reply):
    """One run."""

    execution_id: str
    started_at: Moment
    stopped_at: Moment | None
    finished: bool
    results: list[BlockResult]
    error: str | None = optional()


class RunList(Reply):
    """A page of runs."""

    data: list[RunFacts]


class RunError(Reply):
    """One failure of a run."""

    workflow_id: str
    block: str
    error_occurred_at: Moment
    message: str


class RunErrors(Reply):
    """Failures of a workflow's runs."""

    data: list[RunError]


class LogQuery(UserQuery):
    """Which runs."""

    page: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    limit: Annotated[int, Field(ge=1, le=30)] = 10
    order: Literal["asc", "desc"] = "desc"
    error: bool = False


class RunMade(Reply):
    """The new run."""

    message: str
    execution_uuid: str


@runs.post("/run/workflow")
@runs.input(RunWorkflow)
@runs.output(Message)
@runs.doc(
    summary="Run a workflow",
    description="Starts a run of the user's copy with `data`, whatever else the workflow begins with.",
    responses={
        404: "No such user or workflow.",
        409: "The copy isn’t active, or the name several’s.",
        413: "Too much data.",
    },
)
def run_workflow(json_data: RunWorkflow) -> Message:
    with own() as session:
        user = the_user(session, json_data.user_id)
        child = find_child(session, user, find_workflow(session, json_data.workflow_id or json_data.workflow_name))
        start_run(session, child, json_data.data, trigger="manual", now=now())
    return Message(message="success")


@runs.post("/run/event")
@runs.input(RunEvent)
@runs.output(Message)
@runs.doc(
    summary="Send an event to a user's workflows",
    description="Starts a run of each active workflow of the user that begins with this event.",
    responses={404: "No such user.", 413: "Too much data."},
)
def run_event(json_data: RunEvent) -> Message:
    with own() as session:
        user = the_user(session, json_data.user_id)
        for child in children_of(session, [user.id]):
            if child.is_active and read_definition(child.definition).trigger.event == json_data.event:
                start_run(session, child, json_data.data, trigger="event", now=now())
    return Message(message="Event successfully triggered")


@runs.post("/workflows/<workflow>/rerun/<execution>")
@runs.input(OfUser, location="query")
@runs.output(RunMade)
@runs.doc(
    summary="Run again with the same data",
    responses={
        404: "No such user, workflow or run.",
        409: "The copy isn’t active, or the name several’s.",
    },
)
def rerun(workflow: str, execution: str, query_data: OfUser) -> RunMade:
    with own() as session:
        user = the_user(session, query_data.user_id)
        parent, run = find_workflow(session, workflow), find_run(session, execution)
        if (run.user_id, run.workflow_id) != (user.id, parent.id):
            raise UnknownRun(execution)
        made = run_again(session, run, now())
        return RunMade(message="success", execution_uuid=made.id)


@runs.get("/workflows/<workflow>/logs")
@runs.input(LogQuery, location="query")
@runs.output(RunList)
@runs.doc(
    summary="List a workflow's runs",
    description="What steps gave is masked, and cut at 8,000 characters; logs stay for 60 days unless set otherwise.",
)
def logs(workflow: str, query_data: LogQuery) -> RunList:
    with own() as session:
        user = user_if_named(session, query_data.user_id)
        found = list_runs(
            session,
            find_workflow(session, workflow).id,
            user_id=user.id if user else None,
            only_errors=query_data.error,
            is_newest_first=query_data.order == "desc",
            limit=query_data.limit,
            offset=query_data.page * query_data.limit,
        )
        return RunList(data=[_tell(run) for run in found])


def _tell(run: Run) -> RunFacts:
    results = [
        BlockResult(
            block_id=step.block_id,
            started_at=step.started_at,
            stopped_at=step.stopped_at,
            data=[[{"json": read_log(step.output), "id": step.id}]],
        )
        for step in run.steps
    ]
    return RunFacts(
        execution_id=run.id,
        started_at=run.started_at or run.created_at,
        stopped_at=run.ended_at,
        finished=run.is_finished,
        results=results,
        error=run.error,
    )


@runs.get("/workflows/<workflow>/errors")
@runs.input(UserQuery, location="query")
@runs.output(RunErrors)
@runs.doc(summary="List a workflow's failures", description="The newest hundred.")
def errors(workflow: str, query_data: UserQuery) -> RunErrors:
    with own() as session:
        user = user_if_named(session, query_data.user_id)
        found = list_runs(
            session,
            find_workflow(session, workflow).id,
            user_id=user.id if user else None,
            only_errors=True,
            is_newest_first=True,
            limit=MOST_ERRORS,
            offset=0,
        )
        return RunErrors(
            data=[
                RunError(
                    workflow_id=run.workflow_id,
                    block=run.error_block or "",
                    error_occurred_at=run.ended_at or run.created_at,
                    message=run.error or "",
                )
                for run in found
            ]
        )


@runs.get("/workflows/<workflow>/analytics")
@runs.output(Analytics)
@runs.doc(
    summary="Count a workflow's runs",
    description="Runs that have ended since the workflow exists, also those whose logs are gone.",
)
def analytics(workflow: str) -> Analytics:
    with own() as session:
        counted = count_runs(session, find_workflow(session, workflow).id)
    return Analytics(total_app_actions=counted.actions, total_workflow_runs=counted.runs, total_errors=counted.errors)


@runs.delete("/users/<user>/logs")
@runs.output(Message)
@runs.doc(summary="Delete a user's logs", description="For compliance; it can’t be undone.")
def delete_logs(user: str) -> Message:
    with own() as session:
        found = the_user(session, user)
        audit(session, "user.delete_logs", found.username)
        user_id = found.id
    erase_logs(user_id)
    return Message(message="Success")
