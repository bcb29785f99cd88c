"""A portal with its database and keys, and the vendor's endpoint as a real server that behaves as a test says."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from dbos import WorkflowHandle
from flask import Flask
from sqlalchemy.orm import Session

import portal.durable  # noqa: F401 - declares the durable work
from portal import create_app
from portal.background import migrate
from portal.background.engine import running
from portal.background.work import client_for
from portal.db import engine, transaction
from portal.db.migrating import upgrade
from portal.environments import Environment
from portal.events.kinds import INSTALLATION_FINISHED
from portal.events.models import Delivery, DeliveryAttempt
from portal.events.models import Endpoint as EndpointRow
from portal.events.rules import announce
from portal.settings import read_settings
from portal.users.models import User

Behaviour = Callable[[BaseHTTPRequestHandler], None]
PAYLOAD = {"userId": "u1", "shop": "Café 🛍 \u2028", "credentials": {"magento": "c1"}, "numbers": [1, 2.5, {"n": 1e21}]}
PATIENCE = 20.0  # seconds until a test that waits in vain fails


def answers(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """An ordinary answer."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def says(raw: bytes) -> Behaviour:
    """These bytes instead of an answer in HTTP."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(raw)

    return behave


@dataclass
class Received:
    """One request as it reached the endpoint."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Endpoint:
    """Where the vendor takes webhooks. Behaviours are used up in order; afterwards it answers 204."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    _behaviours: list[Behaviour] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def will(self, *behaviours: Behaviour) -> None:
        """Behave like this on the next requests."""
        self._behaviours += behaviours

    def hang(self, _handler: BaseHTTPRequestHandler) -> None:
        """Answer nothing until the test is over."""
        self.closing.wait()

    def drip(self, handler: BaseHTTPRequestHandler) -> None:
        """Begin an answer and go on with a byte now and then."""
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not self.closing.wait(0.05):
            handler.wfile.write(b".")

    def wait_for(self, number: int) -> Received:
        """The request by that number, 1 being the first; waits until it came."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.received) >= number, PATIENCE), "nothing came"
        return self.received[number - 1]

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        """Keep a request and behave."""
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self._changed:
            self.received.append(Received(handler.path, headers, body))
            behave = self._behaviours.pop(0) if self._behaviours else answers(204)
            self._changed.notify_all()
        try:
            behave(handler)
        except OSError:
            pass  # the portal had enough of it


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """The vendor's endpoint."""
    yield from _serve()


@pytest.fixture
def other_endpoint() -> Iterator[Endpoint]:
    """A second one, elsewhere."""
    yield from _serve()


def _serve() -> Iterator[Endpoint]:
    here = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            here.take(self)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    server = Server(("127.0.0.1", 0), Handler)
    here.url = f"http://127.0.0.1:{server.server_port}/hooks/portal?vendor=1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield here
    here.closing.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with keys and tables, to be copied."""
    folder: Path = tmp_path_factory.mktemp("template")
    app = create_app(read_settings(instance=folder))
    with app.app_context():
        upgrade(engine())
        migrate(engine())
        with transaction() as session:  # whom the events of these tests are about
            session.add(User(id="u1", environment=Environment.development, username="u1"))
        engine().dispose()
    return folder


@pytest.fixture(scope="session")
def make_app(template: Path) -> Callable[[Path], Flask]:
    """Makes a portal of its own in a folder."""

    def make(folder: Path) -> Flask:
        shutil.copytree(template, folder, dirs_exist_ok=True)
        return create_app(read_settings(instance=folder, engine_polling=0.01))

    return make


@pytest.fixture
def app(make_app: Callable[[Path], Flask], tmp_path: Path) -> Iterator[Flask]:
    """A portal whose engine doesn't run; the test is inside its context."""
    made = make_app(tmp_path / "instance")
    with made.app_context():
        yield made
        engine().dispose()


@pytest.fixture(scope="module")
def live(make_app: Callable[[Path], Flask], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """A portal whose engine runs, for all tests of a module; each test is inside its context."""
    made = make_app(tmp_path_factory.mktemp("live") / "instance")
    with running(made, made.config["PORTAL_SETTINGS"]), made.app_context():
        yield made


def listen_alone(session: Session, url: str, *kinds: str) -> EndpointRow | None:
    """Let the only endpoint of the development environment be there; without a URL there is none."""
    session.execute(sa.update(EndpointRow).values(is_enabled=False))
    if not url:
        return None
    known = session.scalar(sa.select(EndpointRow).where(EndpointRow.url == url))
    endpoint = known or EndpointRow(environment=Environment.development, name="Alone", url=url)
    endpoint.kinds, endpoint.is_enabled = list(kinds) or [INSTALLATION_FINISHED], True
    session.add(endpoint)
    session.flush()
    return endpoint


def tell(url: str) -> str:
    """Tell an event to the endpoint there; the id of its delivery."""
    with transaction() as session:
        listen_alone(session, url)
        event = announce(
            session, INSTALLATION_FINISHED, PAYLOAD, environment=Environment.development, now=datetime.now(UTC)
        )
        assert event
        return session.scalars(sa.select(Delivery.id).where(Delivery.event_id == event.id)).one()


def attempt_made(delivery: str, number: int = 1) -> DeliveryAttempt:
    """The record of an attempt; waits until its work is done."""
    work: WorkflowHandle[None] = client_for(engine()).retrieve_workflow(f"deliver-{delivery}-{number}")
    work.get_result(polling_interval_sec=0.02)
    with transaction() as session:
        return session.scalars(sa.select(DeliveryAttempt).filter_by(delivery_id=delivery, number=number)).one()


def state(delivery: str) -> Delivery:
    with transaction() as session:
        return session.get_one(Delivery, delivery)


@pytest.fixture
def noon() -> datetime:
    """A moment."""
    return datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
