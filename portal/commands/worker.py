"""`flask worker`: the background engine in a process of its own."""

from __future__ import annotations

import os
import signal
import time

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

import portal.durable  # noqa: F401 - declares the durable work
from portal.background.engine import running
from portal.settings import MissingSetting


@click.command("worker")
@with_appcontext
def worker() -> None:
    """Deliver webhooks and do the chores until stopped; set PORTAL_ENGINE=false for the web processes then."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    # A plain list: a handler runs in the middle of anything, and must not wait for a lock that its own thread holds.
    ended: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: ended.append(received))
    try:
        with running(app, app.config["PORTAL_SETTINGS"]):
            while not ended:
                time.sleep(0.1)
    except MissingSetting as missing:
        raise click.ClickException(str(missing)) from None
    # What still waits for an endpoint is taken up at the next start; its threads must not hold up the end.
    os._exit(0)
