"""Refusals about runs."""

from __future__ import annotations

from portal.refusals import Refusal, Unknown
from portal.workflows.definition import LARGEST_VALUE
from portal.workflows.sizes import DEEPEST_VALUE


class UnknownRun(Unknown):
    """There is no run by that id, or no longer."""

    title = "No such run"

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"There is no run “{run_id[:40]}”: logs are kept for a while only. GET /workflows/…/logs lists them."
        )


class NotRunning(Refusal):
    """The child takes nothing at present."""

    status = 409
    title = "This workflow isn’t active"

    def __init__(self, workflow: str) -> None:
        super().__init__(f"The user’s copy of “{workflow}” is not active: activate it first, then run it.")


class NotWaiting(Refusal):
    """The run doesn't wait for another attempt."""

    status = 409
    title = "There is nothing to wait for"

    def message(self) -> str:
        return "This run doesn’t wait for another attempt any more. Look again how far it is."


class RunEnded(Refusal):
    """The run is over."""

    status = 409
    title = "This run is over"

    def message(self) -> str:
        return "It ended before it could be stopped. Look again what came of it."


class NoRoom(Refusal):
    """So much waits for its turn already that nothing more is taken."""

    status = 429
    title = "There is enough to do already"
    retry_after = 60

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting:,} items wait here already, and are done one after the other: send it again later.")


class ItemTooLarge(Refusal):
    """The data that a run should begin with is too large."""

    status = 413
    title = "That is too much data"

    def message(self) -> str:
        return f"A run begins with at most {LARGEST_VALUE // 1000} kB of JSON: send less, or a reference to it."


class ItemTooDeep(Refusal):
    """The data that a run should begin with is nested too deep."""

    status = 400
    title = "That is nested too deep"

    def message(self) -> str:
        return f"Lists and objects may stand in each other in at most {DEEPEST_VALUE} levels: flatten the data."
