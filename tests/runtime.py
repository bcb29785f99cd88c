"""What tests of the runtime stand on: a vendor's ingest as a real server, and users who have installed a workflow."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask

from portal import create_app
from portal.background.engine import running
from portal.clock import now
from portal.credentials.rules import Tested, keep_tested
from portal.db import transaction
from portal.environments import Environment
from portal.events.endpoints import choose_kinds, find_endpoint
from portal.events.kinds import KINDS
from portal.events.models import Event, documented_id
from portal.installations.rules import finish_installation
from portal.integrations.declaration import parse_declaration
from portal.integrations.rules import apply_declaration
from portal.links.manner import Manner
from portal.links.rules import create_link
from portal.runs.models import UNFINISHED, Run, RunStep
from portal.sandbox.shop import Shop
from portal.settings import read_settings
from portal.users.models import User
from portal.users.rules import create_user
from portal.workflows.models import ChildWorkflow, Workflow
from tests.stage import Provider, close, wait_until

Behaviour = Callable[["Asked"], tuple[int, bytes, dict[str, str]]]


@dataclass
class Asked:
    """One request as it reached the ingest."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)

    @property
    def user(self) -> str:
        """Whose run sent it."""
        return self.headers.get("x-alloy-userid", "")

    @property
    def key(self) -> str:
        """Its `Idempotency-Key`."""
        return self.headers.get("idempotency-key", "")


def takes(_asked: Asked) -> tuple[int, bytes, dict[str, str]]:
    """Take it."""
    return 200, b"{}", {}


def answers(status: int, body: bytes = b"{}", **headers: str) -> Behaviour:
    """Answer like this."""
    return lambda _asked: (status, body, {name.replace("_", "-"): value for name, value in headers.items()})


class Ingest(ThreadingHTTPServer):
    """Where the vendor takes data; it behaves as the test says: in all, for one user, or for the next requests."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.url = f"http://127.0.0.1:{self.server_port}/ingest"
        self.origin = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[Asked] = []
        self.behave: Behaviour = takes
        self.behaves_for: dict[str, Behaviour] = {}
        self.next: list[Behaviour] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def hang(self, _asked: Asked) -> tuple[int, bytes, dict[str, str]]:
        """Say nothing until the test is over."""
        self.closing.wait(30)
        return takes(_asked)

    def take(self, asked: Asked) -> tuple[int, bytes, dict[str, str]]:
        """Keep a request and answer it."""
        with self._lock:
            self.asked.append(asked)
            behave = self.next.pop(0) if self.next else self.behaves_for.get(asked.user, self.behave)
        return behave(asked)

    def of(self, user: str) -> list[Asked]:
        """What came for one user."""
        return [one for one in list(self.asked) if one.user == user]

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # who was killed hangs up


class _Taking(BaseHTTPRequestHandler):
    server: Ingest

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            return  # who asked was killed before all of it was sent: nobody could take that
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, answer, more = self.server.take(Asked(self.command, self.path, headers, body))
        with contextlib.suppress(OSError):
            self.send_response(status)
            for name, value in {"Content-Length": str(len(answer)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST

    def log_message(self, *_: Any) -> None:
        pass


def workflow(trigger: str, *steps: str, fields: str = "[]", apps: str = "[sandbox]", name: str = "Flow") -> str:
    """An integration file with one workflow; trigger and steps are YAML in braces."""
    listed = "".join(f"\n      - {step}" for step in steps) or " []"
    return (
        f"name: {name}\napps: {apps}\nworkflows:\n  - name: {name}\n    description: It is tried.\n"
        f"    trigger: {trigger}\n    fields: {fields}\n    steps:{listed}\n"
    )


SEND = '{name: Send it, request: {post: "${ ingest }", body: "${ trigger }"}}'


@dataclass(frozen=True)
class Child:
    """A user's copy of a workflow, by ids."""

    id: str
    user: str
    workflow: str
    installation: str
    integration: str
    credential: str = ""


@dataclass
class World:
    """A portal, the shop, a provider and the ingest around it."""

    app: Flask
    ingest: Ingest
    shop: Shop
    provider: Provider
    made: int = 0

    def user(self, name: str = "") -> str:
        """A user by this name (or a new one); the id."""
        self.made += 1
        name = name or f"user{self.made}@shop.example"
        with transaction(Environment.production) as session:
            found = session.scalar(sa.select(User).where(User.username == name))
            return (found or create_user(session, name, now=now())).id

    def install(
        self,
        text: str,
        user: str = "",
        *,
        values: dict[str, str] | None = None,
        account: str = "Luma Store",
        answers: dict[str, Any] | None = None,
        operation: Any = "install",
    ) -> Child:
        """Install a file's workflow for a user (by default a new one), as a finished link does."""
        keys = self.app.extensions["keys"]
        user = user or self.user()
        with transaction(Environment.production) as session:
            declared = parse_declaration(text, self.app.extensions["catalogue"], source="file")
            integration, _ = apply_declaration(session, declared, now())
            link, _ = create_link(
                session,
                keys.link_keys,
                user=session.get_one(User, user),
                integration=integration,
                now=now(),
                life=timedelta(hours=1),
                manner=Manner(operation=operation),
            )
            drafts = [
                keep_tested(
                    session,
                    keys,
                    Tested(app, values or {"store_url": self.shop.url, "access_token": self.shop.token}, account),
                    environment=Environment.production,
                    user_id=user,
                    link_id=link.id,
                    now=now(),
                ).id
                for app in integration.apps
            ]
            flow = session.scalars(
                sa.select(Workflow).where(Workflow.integration_id == integration.id, Workflow.retired_at.is_(None))
            ).first()
            assert flow is not None
            made = finish_installation(
                session,
                link,
                drafts,
                press="press",
                now=now(),
                settings={flow.id: answers or {}},
            )
            child = session.scalars(
                sa.select(ChildWorkflow).where(
                    ChildWorkflow.installation_id == made.id, ChildWorkflow.workflow_id == flow.id
                )
            ).one()
            return Child(child.id, user, flow.id, made.id, integration.id, drafts[0])

    def run(self, child: Child, item: Any = None) -> str:
        """Start a run by hand; its id."""
        from portal.runs.rules import start_run

        with transaction(Environment.production) as session:
            return start_run(session, session.get_one(ChildWorkflow, child.id), item, trigger="manual", now=now()).id

    def child(self, child: Child) -> ChildWorkflow:
        """The row of a child."""
        with transaction() as session:
            return session.get_one(ChildWorkflow, child.id)

    def see(self, run: str) -> Run:
        """The row of a run, with its steps."""
        with transaction() as session:
            return session.scalars(sa.select(Run).where(Run.id == run).options(sa.orm.selectinload(Run.steps))).one()

    def runs(self, child: Child) -> list[Run]:
        """The runs of a child, in their order."""
        with transaction() as session:
            return list(
                session.scalars(
                    sa.select(Run)
                    .where(Run.child_id == child.id)
                    .options(sa.orm.selectinload(Run.steps))
                    .order_by(Run.number)
                )
            )

    def ended(self, run: str, seconds: float = 20) -> Run:
        """The run, once it has ended."""
        wait_until(lambda: self.see(run).is_finished, seconds=seconds)
        return self.see(run)

    def ran(self, child: Child, item: Any = None) -> Run:
        """Run a child once with this item, until it ends."""
        return self.ended(self.run(child, item))

    def settled(self, child: Child, count: int, seconds: float = 20) -> list[Run]:
        """The runs of a child, once so many have ended and none goes on."""

        def is_so() -> bool:
            states = [run.state for run in self.runs(child)]
            return len(states) >= count and not any(state in UNFINISHED for state in states)

        wait_until(is_so, seconds=seconds)
        return self.runs(child)

    def reaches(self, run: str, state: str, seconds: float = 20) -> Run:
        """The run, once it is in this state."""
        wait_until(lambda: self.see(run).state == state, seconds=seconds)
        return self.see(run)

    def steps(self, run: str) -> list[RunStep]:
        """What the log of a run says."""
        return list(self.see(run).steps)

    def events(self, kind: str, user: str) -> list[dict[str, Any]]:
        """The payloads of this kind of event about one user."""
        with transaction() as session:
            told = [json.loads(text) for text in session.scalars(sa.select(Event.payload).where(Event.type == kind))]
        return [one for one in told if one.get("userId") == user]

    def dump(self) -> bytes:
        """Every byte of the database's files."""
        folder: Path = self.app.config["PORTAL_SETTINGS"].instance
        return b"".join(path.read_bytes() for path in folder.glob("portal.sqlite3*"))

    def count(self, table: type[Any], **conditions: Any) -> int:
        """How many rows there are."""
        with transaction() as session:
            return session.scalar(sa.select(sa.func.count()).select_from(table).filter_by(**conditions)) or 0


def make_world(instance: Path, shop: Shop, provider: Provider, ingest: Ingest, **settings: Any) -> World:
    """A portal in this data folder, among these servers."""
    world = make_bare_world(instance, shop, provider, ingest, **settings)
    with world.app.app_context():
        take_every_event()
    return world


def take_every_event() -> None:
    """Let the documented endpoint take events of every kind."""
    with transaction(Environment.production) as session:
        choose_kinds(session, find_endpoint(session, documented_id(Environment.production)), list(KINDS))


def make_bare_world(instance: Path, shop: Shop, provider: Provider, ingest: Ingest, **settings: Any) -> World:
    """The same, whose database may have no tables yet."""
    app = create_app(
        read_settings(
            **{
                "instance": instance,
                "base_url": "http://portal.example",
                "engine_polling": 0.01,
                "allow_private_network": f"127.0.0.1:{shop.server_port} 127.0.0.1:{provider.server_port}",
                "demo_ingest_url": ingest.url,
                "installation_webhook_url": "http://127.0.0.1:9/webhook",
                **settings,
            }
        )
    )
    return World(app, ingest, shop, provider)


@contextlib.contextmanager
def quiet_world(instance: Path, shop: Shop, provider: Provider) -> Iterator[World]:
    """A portal whose engine doesn't run, among these and an ingest of its own; the block is inside its context."""
    ingest = Ingest()
    made = make_world(instance, shop, provider, ingest)
    with made.app.app_context():
        yield made
    ingest.closing.set()
    close(made.app)
    end(ingest)


@contextlib.contextmanager
def live_world(blank: Path, instance: Path) -> Iterator[World]:
    """A portal whose engine runs in this process, among servers of its own; the block is inside its context."""
    shutil.copytree(blank, instance)
    shop, provider, ingest = Shop(instance, 0), Provider(), Ingest()
    threading.Thread(target=shop.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    made = make_world(instance, shop, provider, ingest)
    with running(made.app, made.app.config["PORTAL_SETTINGS"]), made.app.app_context():
        yield made
        for server in (provider, ingest):
            server.closing.set()
    close(made.app)
    end(shop, provider, ingest)


def end(*servers: ThreadingHTTPServer) -> None:
    """Let servers go that a test started."""
    for server in servers:
        server.shutdown()
        server.server_close()
