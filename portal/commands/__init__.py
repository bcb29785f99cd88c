"""The command line: `flask <group> <verb>`. A command only translates: arguments in, one use case, text or JSON out."""

from __future__ import annotations

from flask import Flask

from portal.commands import (
    api_keys,
    catalogue,
    database,
    events,
    installations,
    integrations,
    keys,
    links,
    operators,
    users,
    worker,
    workflows,
)
from portal.sandbox.commands import sandbox


def init_commands(app: Flask) -> None:
    """Add every command to `flask`."""
    groups = (
        api_keys.api_key,
        catalogue.catalogue,
        database.database,
        events.event,
        events.webhook,
        installations.installation,
        integrations.integration,
        keys.keys,
        links.link,
        operators.operator,
        users.user,
        workflows.workflow,
        sandbox,
    )
    for group in groups:
        app.cli.add_command(group)
    app.cli.add_command(worker.worker)
