"""Refusals about installations."""

from __future__ import annotations

from portal.refusals import Refusal


class CredentialsMissing(Refusal):
    """An app of the integration has no tested credential yet."""

    status = 422
    title = "Something is still missing"

    def __init__(self, apps: list[str]) -> None:
        super().__init__(f"Please connect {', '.join(apps)} first.")
        self.apps = apps


class UnknownInstallation(Refusal):
    """No installation by that id."""

    status = 404
    title = "No such installation"

    def __init__(self, installation_id: str) -> None:
        super().__init__(f"There is no installation “{installation_id}”. `flask installation list` shows them.")
