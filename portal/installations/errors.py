"""Refusals about installations."""

from __future__ import annotations

from portal.languages import sentence
from portal.refusals import Refusal, Unknown


class CredentialsMissing(Refusal):
    """An app of the integration has no tested credential yet."""

    status = 422
    title = sentence("Something is still missing")

    def __init__(self, apps: list[str]) -> None:
        super().__init__(sentence("Please connect {apps} first.", apps=", ".join(apps)))
        self.apps = apps


class NotConnected(Refusal):
    """What is to be started has no credential any more, or never had one."""

    status = 409
    title = "Credentials are missing"

    def __init__(self, apps: list[str]) -> None:
        super().__init__(f"There is no credential for {', '.join(apps)}: send the user an install link to connect it.")


class SeveralCredentials(Refusal):
    """The user has more than one credential for an app, and none was chosen."""

    status = 409
    title = "Which credential?"

    def __init__(self, app: str) -> None:
        super().__init__(
            f"The user has several credentials for {app}: name one in `credentialIds`. "
            "GET /users/{userId}/credentials lists them."
        )


class UnknownInstallation(Unknown):
    """No installation by that id."""

    title = "No such installation"

    def __init__(self, installation_id: str) -> None:
        super().__init__(
            f"There is no installation “{installation_id}”. GET /installations or `flask installation list` shows them."
        )
