"""Refusals about workflows."""

from __future__ import annotations

from collections.abc import Mapping

from portal.refusals import Refusal, Unknown


class UnknownWorkflow(Unknown):
    """There is no workflow by that id or name."""

    title = "No such workflow"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no workflow “{name}”. GET /workflows names them.")


class SeveralWorkflows(Refusal):
    """More than one workflow has the name that was given."""

    status = 409
    title = "Which workflow?"

    def __init__(self, name: str) -> None:
        super().__init__(f"Several workflows are called “{name}”: name one by its id. GET /workflows lists them.")


class NotInstalled(Refusal):
    """The user has no copy of this workflow."""

    status = 404
    title = "This workflow isn’t installed"

    def __init__(self, workflow: str, user: str) -> None:
        super().__init__(f"{user} has not installed “{workflow}”: send them an install link first.")


class NewFieldsAsked(Refusal):
    """The new version wants values that nobody has given yet."""

    status = 409
    title = "The new version asks for more"

    def __init__(self, workflow: str, fields: list[str]) -> None:
        super().__init__(
            f"The newest version of “{workflow}” asks for {', '.join(fields)}. "
            "Open the modal with operation “update”, or send an install link, so that the user can answer."
        )


class SettingsWrong(Refusal):
    """Values for a workflow's fields are missing or can't be taken; `problems` by workflow id and field."""

    title = "Some settings are missing"

    def __init__(self, problems: Mapping[str, Mapping[str, str]]) -> None:
        said = "; ".join(f"{name}: {text}" for fields in problems.values() for name, text in fields.items())
        super().__init__(f"Please mend these values: {said}")
        self.problems = problems
