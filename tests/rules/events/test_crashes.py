"""A process that is killed loses no event, and one that is asked to end does so at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.db import transaction
from portal.events.models import DeliveryAttempt, DeliveryState

from .conftest import Endpoint, answers, attempt_made, state, tell

ROOT = Path(__file__).parents[3]
# Runs the engine; with "dies", it is killed when an answer is there and about to be recorded.
ENGINE = """
import os, signal, sys, threading
import portal.durable
from portal import create_app
from portal.background.engine import running
from portal.settings import read_settings

if sys.argv[2] == "dies":
    portal.durable.portal.events.durable.record_attempt = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
app = create_app(read_settings(instance=sys.argv[1], engine_polling=0.01))
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
with running(app, app.config["PORTAL_SETTINGS"]):
    ended.wait()
os._exit(0)  # without waiting for the threads that still listen to an endpoint
"""

Start = Callable[[list[str]], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(app: Flask) -> Iterator[Start]:
    """Starts child processes in the project's folder, on the data folder of `app`."""
    children: list[subprocess.Popen[bytes]] = []

    def begin(command: list[str]) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PORTAL_INSTANCE": app.instance_path}
        children.append(subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment))
        return children[-1]

    yield begin
    for child in children:
        child.kill()
        child.wait()


def engine_on(app: Flask, how: str) -> list[str]:
    return ["-c", ENGINE, app.instance_path, how]


def test_killed_before_the_answer_came_it_sends_the_same_event_again(
    app: Flask, start: Start, endpoint: Endpoint
) -> None:
    endpoint.will(endpoint.hang)
    delivery = tell(endpoint.url)
    first_run = start(engine_on(app, "lives"))
    first = endpoint.wait_for(1)
    first_run.kill()
    first_run.wait()
    assert state(delivery).state is DeliveryState.pending

    start(engine_on(app, "lives"))

    second = endpoint.wait_for(2)
    assert (second.body, second.headers["webhook-id"]) == (first.body, first.headers["webhook-id"])
    assert attempt_made(delivery).status == 204
    assert state(delivery).state is DeliveryState.delivered


def test_killed_between_the_answer_and_its_record_it_makes_the_attempt_again_and_records_one(
    app: Flask, start: Start, endpoint: Endpoint
) -> None:
    endpoint.will(answers(202, b"taken"))
    delivery = tell(endpoint.url)
    assert start(engine_on(app, "dies")).wait(20) == -signal.SIGKILL
    assert state(delivery).state is DeliveryState.pending

    start(engine_on(app, "lives"))

    attempt = attempt_made(delivery)
    assert (attempt.status, attempt.answer) == (204, "")
    assert state(delivery).state is DeliveryState.delivered
    with transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(DeliveryAttempt)) == 1
    assert len(endpoint.received) == 2
    assert len({request.headers["webhook-id"] for request in endpoint.received}) == 1


def test_the_engine_stops_within_five_seconds_while_an_endpoint_keeps_it_waiting(
    app: Flask, start: Start, endpoint: Endpoint
) -> None:
    endpoint.will(endpoint.hang)
    delivery = tell(endpoint.url)
    process = start(engine_on(app, "lives"))
    endpoint.wait_for(1)

    process.terminate()

    assert process.wait(5) == 0
    assert state(delivery).state is DeliveryState.pending


def test_the_worker_ends_within_five_seconds_while_an_endpoint_keeps_it_waiting(
    app: Flask, start: Start, endpoint: Endpoint
) -> None:
    endpoint.will(endpoint.hang)
    tell(endpoint.url)
    worker = start(["-m", "flask", "--app", "app", "worker"])
    endpoint.wait_for(1)

    worker.terminate()

    worker.wait(5)
