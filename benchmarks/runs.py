"""The runtime's measures: runs a second, children that one process can poll, memory over many runs, old logs."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from benchmarks.api import FEW, MANY, get_with, make_key, two_stages
from benchmarks.measures import Row, Stage, stage
from benchmarks.stage import on_processor
from benchmarks.turns import STEEPEST, Question, ratio
from portal import create_app
from portal.clock import now
from portal.credentials.models import InstallationCredential
from portal.credentials.rules import Tested, keep_tested
from portal.db import transaction
from portal.environments import Environment
from portal.ids import new_id
from portal.installations.models import Installation
from portal.integrations.declaration import parse_declaration
from portal.integrations.rules import apply_declaration
from portal.keys.ring import keys_of
from portal.runs.rules import start_run
from portal.sandbox.store import add_order
from portal.settings import read_settings
from portal.triggers.rules import begin
from portal.users.rules import create_user
from portal.workflows.models import ChildWorkflow
from portal.workflows.rules import install_children, newest_versions

RUNS, RUNNING_CHILDREN = 1500, 50
CHILDREN, WATCHED_SECONDS = 5000, 120  # two whole rounds: in a part of one, more or fewer than their share are due
MANY_RUNS = int(os.environ.get("BENCH_RUNS", "50000"))
WORKFLOW = """
name: Bench
apps: [sandbox]
workflows:
  - name: Stream
    description: Send each order on.
    trigger: {manual: true}
    steps:
      - {name: Pick, map: {id: "${ trigger.entity_id }", total: "${ trigger.grand_total }"}}
      - {name: Only paid, filter: "${ steps.pick.total > `1` }"}
      - {name: Send, request: {post: "${ ingest }", body: {order: "${ steps.pick }", whole: "${ trigger }"}}}
"""
WATCHING = """
name: Watch
apps: [sandbox]
workflows:
  - {name: Watch, description: Watch orders., trigger: {poll: order_created}, steps: [{map: {id: "${ trigger.id }"}}]}
"""


def runs(folder: Path) -> Iterator[Row]:
    """Runs a second, polls a minute, memory, old logs."""
    yield from rate(folder)
    yield from polling(folder)
    yield from old_logs(folder)
    yield from memory(folder)


@contextmanager
def _beside(portal: Stage) -> Iterator[Flask]:
    """The portal's own code on the same data folder, to put rows in."""
    app = create_app(read_settings(instance=portal.instance, base_url=f"http://127.0.0.1:{portal.port}"))
    with app.app_context():
        yield app
    app.extensions["database"].engine.dispose()


def _install(session: Session, app: Flask, text: str, count: int, shop: str) -> list[ChildWorkflow]:
    """The integration installed for `count` new users."""
    declaration = parse_declaration(text, app.extensions["catalogue"], source="bench")
    integration, _ = apply_declaration(session, declaration, now())
    published = newest_versions(session, integration.id, None)
    made = []
    for _ in range(count):
        user = create_user(session, f"{new_id()}@bench.example", now=now())
        tested = Tested("sandbox", {"store_url": shop, "access_token": "t"}, "Bench")
        credential = keep_tested(
            session,
            keys_of(session),
            tested,
            environment=Environment.production,
            user_id=user.id,
            link_id=None,
            now=now(),
        )
        one = Installation(id=new_id(), user_id=user.id, integration_id=integration.id, installed_at=now())
        session.add(one)
        session.flush()
        session.add(InstallationCredential(installation_id=one.id, app="sandbox", credential_id=credential.id))
        made += install_children(
            session, one.id, Environment.production, user.id, published, now(), there=[], values={}, output_override=()
        )
    session.flush()
    return made


def _start(portal: Stage, count: int, order: dict[str, Any]) -> None:
    """Install for some users, and start that many runs spread over them."""
    with _beside(portal) as app:
        with transaction(Environment.production) as session:
            ids = [child.id for child in _install(session, app, WORKFLOW, RUNNING_CHILDREN, portal.shop_url)]
        for first in range(0, count, 500):
            with transaction(Environment.production) as session:
                for number in range(first, min(first + 500, count)):
                    child = session.get_one(ChildWorkflow, ids[number % len(ids)])
                    start_run(session, child, order, trigger="manual", now=now())


def rate(folder: Path) -> Iterator[Row]:
    """How many runs through trigger, map, filter and request one process does."""
    order = add_order(folder / "orders")
    endpoint = _Ingest()
    with stage(folder, PORTAL_DEMO_INGEST_URL=endpoint.url) as portal:
        began = time.monotonic()
        _start(portal, RUNS, order)
        enqueued = endpoint.taken
        start = time.monotonic()
        while endpoint.taken < RUNS and time.monotonic() - began < 180:
            time.sleep(0.05)
        measured = (endpoint.taken - enqueued) / (time.monotonic() - start)
    lost = RUNS - endpoint.taken
    yield Row("Runs: trigger, map, filter, request", f"{measured:.0f}/s ({lost} missing)", "≥ 40/s", measured >= 40)


class _Ingest(ThreadingHTTPServer):
    """Takes everything, and counts."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Counting)
        self.keys: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.url = f"http://127.0.0.1:{self.server_port}/ingest"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def taken(self) -> int:
        """How many different deliveries came."""
        return len(self.keys)


class _Counting(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Ingest

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.keys[self.headers.get("Idempotency-Key", "")] += 1
        self._answer(b"")

    def do_GET(self) -> None:
        self.server.asked[self.path.split("/", 2)[1]] += 1
        self._answer(b'{"items": [], "total_count": 0}')

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def polling(folder: Path) -> Iterator[Row]:
    """Whether one process asks for every one of many children once a minute."""
    provider = _Ingest()
    with stage(folder) as portal:
        server = f"http://127.0.0.1:{provider.server_port}"
        with _beside(portal) as app:
            for first in range(0, CHILDREN, 500):
                with transaction(Environment.production) as session:
                    # Each at an address of its own, so that the provider can tell them apart.
                    for number in range(first, first + 500):
                        child = _install(session, app, WATCHING, 1, f"{server}/shop{number}")[0]
                        begin(session, child, now())
        while len(provider.asked) < CHILDREN:  # each one once: then they are in their rhythm
            time.sleep(0.2)
        time.sleep(5)
        provider.asked.clear()
        begun, spent = time.monotonic(), _processor_time(portal)
        time.sleep(WATCHED_SECONDS)
        asked, took = sum(provider.asked.values()), time.monotonic() - begun
        share = (_processor_time(portal) - spent) / took
        missing = CHILDREN - len(provider.asked)
    per_minute = 60 * asked / took
    yield Row(
        f"{CHILDREN} children polled every minute by one process",
        f"{per_minute:.0f} polls a minute, {missing} children left out, {100 * share:.0f} % of a core",
        f"≥ {0.95 * CHILDREN:.0f}, none left out",
        per_minute >= 0.95 * CHILDREN and missing == 0,
    )


def _server(portal: Stage) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["environ", "cmdline"]) if _is_of(p, portal)]


def _is_of(process: psutil.Process, portal: Stage) -> bool:
    environ, command = process.info["environ"] or {}, " ".join(process.info["cmdline"] or ())
    return environ.get("PORTAL_INSTANCE") == str(portal.instance) and "portal.sandbox" not in command


def _processor_time(portal: Stage) -> float:
    return sum(sum(p.cpu_times()[:2]) for p in _server(portal))


def memory(folder: Path) -> Iterator[Row]:
    """What the process holds after a tenth of many runs, and after all of them."""
    order = add_order(folder / "orders")
    endpoint = _Ingest()
    with stage(folder, PORTAL_DEMO_INGEST_URL=endpoint.url) as portal:
        _start(portal, MANY_RUNS, order)
        samples = []
        for share in (0.1, 1.0):
            deadline = time.monotonic() + 3600
            while endpoint.taken < share * MANY_RUNS and time.monotonic() < deadline:
                time.sleep(0.5)
            samples.append(sum(p.memory_info().rss for p in _server(portal)) / 1e6)
    ratio = samples[1] / samples[0]
    measured = f"{ratio:.2f} times ({samples[0]:.0f} to {samples[1]:.0f} MB)"
    yield Row(f"Memory over {MANY_RUNS} runs, against a tenth of them", measured, "≤ 1.1 times", ratio <= 1.1)


def old_logs(folder: Path) -> Iterator[Row]:
    """A page of logs of a workflow with a million runs behind it against one with a thousand."""
    with two_stages(folder) as portals:
        questions = [_logs(one, count) for one, count in zip(portals, (FEW, MANY), strict=True)]
        with on_processor(0):
            found = ratio(*questions)
    what = "Logs of a workflow with 1 million runs against 1 thousand"
    yield Row(what, found.measured, f"≤ {STEEPEST} times", found.times <= STEEPEST)


def _logs(portal: Stage, count: int) -> Question:
    """The page of logs of a workflow that ran so often."""
    with _beside(portal) as app, transaction(Environment.production) as session:
        child = _install(session, app, WORKFLOW, 1, portal.shop_url)[0]
        facts = {"child": child.id, "workflow": child.workflow_id, "user": child.user_id}
    engine = sa.create_engine(f"sqlite:///{portal.instance / 'portal.sqlite3'}")
    with engine.begin() as connection:
        moment = "strftime('%Y-%m-%d %H:%M:%f', '2026-01-01', '+' || i || ' seconds') || '000'"
        connection.execute(
            sa.text(
                f"""
                WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)
                INSERT INTO runs (id, child_id, workflow_id, user_id, version, number, trigger, state, leg, is_parked,
                                  progress, actions, attempts, created_at, started_at, ended_at, environment)
                SELECT lower(hex(randomblob(12))), :child, :workflow, :user, 1, i, 'manual', 'succeeded', 1, 0, 3, 1,
                       0, {moment}, {moment}, {moment}, 'production' FROM n
                """
            ),
            {"count": count, **facts},
        )
    engine.dispose()
    return Question(portal.port, get_with(f"/workflows/{facts['workflow']}/logs", make_key(portal)))
