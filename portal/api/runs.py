"""Runs of workflows: started, listed, counted, forgotten. Nothing runs before there is a runtime; this says so."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from portal.api.access import audit, own, the_user, user_if_named
from portal.api.hooks import resource
from portal.api.shapes import Body, Message, Moment, OfUser, Ref, Reply, UserQuery, either, optional
from portal.installations.changing import find_child
from portal.refusals import Refusal
from portal.workflows.rules import find_workflow

runs = resource("runs", __name__, tag="Runs")


class NoRuntime(Refusal):
    """This portal installs workflows; it has no part yet that runs them."""

    status = 409
    title = "Workflows don’t run here yet"

    def message(self) -> str:
        return (
            "This portal installs workflows but has no runtime yet, so nothing was started. "
            "Take the finished installation from the webhook and run it on your side until then."
        )


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
@runs.doc(summary="Run a workflow", responses={404: "No such user or workflow.", 409: "There is no runtime yet."})
def run_workflow(json_data: RunWorkflow) -> Message:
    with own() as session:
        user = the_user(session, json_data.user_id)
        find_child(session, user, find_workflow(session, json_data.workflow_id or json_data.workflow_name))
    raise NoRuntime


@runs.post("/run/event")
@runs.input(RunEvent)
@runs.output(Message)
@runs.doc(
    summary="Send an event to a user's workflows", responses={404: "No such user.", 409: "There is no runtime yet."}
)
def run_event(json_data: RunEvent) -> Message:
    with own() as session:
        the_user(session, json_data.user_id)
    raise NoRuntime


@runs.post("/workflows/<workflow>/rerun/<execution>")
@runs.input(OfUser, location="query")
@runs.output(RunMade)
@runs.doc(summary="Run again with the same data", responses={409: "There is no runtime yet."})
def rerun(workflow: str, execution: str, query_data: OfUser) -> RunMade:
    with own() as session:
        the_user(session, query_data.user_id)
        find_workflow(session, workflow)
    raise NoRuntime


@runs.get("/workflows/<workflow>/logs")
@runs.input(LogQuery, location="query")
@runs.output(RunList)
@runs.doc(summary="List a workflow's runs")
def logs(workflow: str, query_data: LogQuery) -> RunList:
    _look_up(workflow, query_data.user_id)
    return RunList(data=[])


@runs.get("/workflows/<workflow>/errors")
@runs.input(UserQuery, location="query")
@runs.output(RunErrors)
@runs.doc(summary="List a workflow's failures")
def errors(workflow: str, query_data: UserQuery) -> RunErrors:
    _look_up(workflow, query_data.user_id)
    return RunErrors(data=[])


@runs.get("/workflows/<workflow>/analytics")
@runs.output(Analytics)
@runs.doc(summary="Count a workflow's runs")
def analytics(workflow: str) -> Analytics:
    _look_up(workflow, None)
    return Analytics(total_app_actions=0, total_workflow_runs=0, total_errors=0)


@runs.delete("/users/<user>/logs")
@runs.output(Message)
@runs.doc(summary="Delete a user's logs", description="For compliance; it can’t be undone.")
def delete_logs(user: str) -> Message:
    with own() as session:
        found = the_user(session, user)
        audit(session, "user.delete_logs", found.username)
    return Message(message="Success")


def _look_up(workflow: str, user: str | None) -> None:
    with own() as session:
        user_if_named(session, user)
        find_workflow(session, workflow)
