"""The management API's measures: links a second, a batch of users, and a page of users in a small and a large table."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
import urllib.request
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy as sa

from benchmarks.client import get, load
from benchmarks.measures import HERE, Row, Stage, stage
from benchmarks.stage import on_processor
from benchmarks.turns import STEEPEST, Question, ratio

MANY, FEW = 1_000_000, 1_000
RATE = {"PORTAL_API_RATE": "1000000 per second"}


def api(folder: Path) -> Iterator[Row]:
    """Links, batches and pages."""
    with stage(folder, **RATE) as portal:
        key = make_key(portal)
        yield _links(portal, key)
        yield _batch(portal, key)
    yield _pages(folder)


def make_key(portal: Stage) -> str:
    """A key of a backend."""
    flask = str(Path(sys.executable).with_name("flask"))
    made = subprocess.run(
        [flask, "api-key", "create", "bench"], env=portal.env, cwd=HERE, capture_output=True, text=True
    )
    return made.stdout.strip()


def _call(portal: Stage, key: str, method: str, path: str, body: object = None) -> dict[str, object]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{portal.port}{path}",
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        told: dict[str, object] = json.load(answer)
        return told


def get_with(path: str, key: str) -> bytes:
    """The request that a backend with this key sends."""
    return get(path, "127.0.0.1", headers=f"Authorization: Bearer {key}\r\n")


def _links(portal: Stage, key: str) -> Row:
    integration = portal.links(1)[0]["integrationId"]
    users = [_call(portal, key, "POST", "/users", {"username": f"user{n}"})["userId"] for n in range(8)]
    requests = [get_with(f"/2024-03/users/{user}/integrations/{integration}/install-url", key) for user in users]
    load(portal.port, requests, connections=8, seconds=0.5)
    rates = [load(portal.port, requests, connections=8, seconds=2).rate for _ in range(3)]
    rate = statistics.median(rates)
    return Row("GET …/install-url, all in one process as under make run", f"{rate:.0f}/s", "≥ 300/s", rate >= 300)


def _batch(portal: Stage, key: str) -> Row:
    times = []
    for turn in range(3):
        users = [{"username": f"{turn}-{n}@bench.example", "fullName": f"User {n}"} for n in range(1000)]
        start = time.perf_counter()
        _call(portal, key, "POST", "/users/batch", {"users": users})
        times.append(time.perf_counter() - start)
    took = statistics.median(times)
    return Row("POST /users/batch of 1000", f"{1000 * took:.0f} ms", "< 1000 ms", took < 1)


def _pages(folder: Path) -> Row:
    """The middle page, by its cursor, of a thousand users and of a million."""
    with two_stages(folder) as portals:
        questions = [
            Question(one.port, get_with(f"/users?limit=100&cursor={_cursor(one, count)}", make_key(one)))
            for one, count in zip(portals, (FEW, MANY), strict=True)
        ]
        with on_processor(0):
            found = ratio(*questions)
    what = "GET /users, a page of 100 amid 1 million users against 1 thousand"
    return Row(what, found.measured, f"≤ {STEEPEST} times", found.times <= STEEPEST)


@contextmanager
def two_stages(folder: Path) -> Iterator[tuple[Stage, Stage]]:
    """Two portals side by side on one processor, for few rows and for many."""
    with ExitStack() as portals:
        with on_processor(1):
            few, many = (portals.enter_context(stage(folder, is_worker_apart=True, **RATE)) for _ in range(2))
        yield few, many


def _cursor(portal: Stage, count: int) -> str:
    """Fill the table up to `count` users; the cursor of a page in its middle."""
    engine = sa.create_engine(f"sqlite:///{portal.instance / 'portal.sqlite3'}")
    with engine.begin() as connection:
        has = connection.scalar(sa.text("SELECT count(*) FROM users")) or 0
        connection.execute(
            sa.text(
                """
                WITH RECURSIVE n(i) AS (SELECT :has UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)
                INSERT INTO users (id, environment, username, created_at)
                SELECT lower(hex(randomblob(12))), 'production', 'bulk' || i || '@bench.example',
                       strftime('%Y-%m-%d %H:%M:%f', '2026-01-01', '+' || i || ' seconds') || '000' FROM n
                """
            ),
            {"has": has, "count": count},
        )
        middle = "SELECT created_at, id FROM users WHERE environment = 'production' ORDER BY 1, 2 LIMIT 1 OFFSET :at"
        at, row_id = connection.execute(sa.text(middle), {"at": count // 2}).one()
    engine.dispose()
    return urlsafe_b64encode(json.dumps([f"{at.replace(' ', 'T')}+00:00", row_id]).encode()).decode().rstrip("=")
