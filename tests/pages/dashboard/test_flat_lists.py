"""Every list costs the same with twelve thousand rows behind it as with two thousand, whatever is asked of it.

What SQLite does is counted in its own steps, which are the same on every machine: no clock is read.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from benchmarks.dashboard import FIRST, OPERATOR, QUESTIONS
from benchmarks.filling import fill
from portal import create_app
from portal.clock import now
from portal.db import transaction
from portal.demo.seed import INTEGRATION
from portal.environments import Environment
from portal.integrations.declaration import read_declaration
from portal.integrations.rules import apply_declaration
from portal.operators.models import Operator, OperatorSession, Role
from portal.operators.rules import invite, start_session
from portal.settings import read_settings
from tests.stage import close

FEW, MANY = 2_000, 12_000
AT_ONCE = 10  # steps between two looks at the count
ASKED = [*QUESTIONS, *(f"{name}?{query}" for name, queries in QUESTIONS.items() for query in queries)]
ASKED += ["links/{link}", "users/{user}", "installations/{installation}", "children/{child}", "runs/{run}"]
ASKED += ["events/{event}", "integrations/{integration}"]
KINDS = {"user": "a", "link": "b", "installation": "c", "child": "e", "event": "f", "run": "3"}


class Filled:
    """A portal with rows of every kind, and an operator who looks at one of its environments."""

    def __init__(self, instance: Path, count: int) -> None:
        self.app = create_app(read_settings(instance=instance))
        self.steps = 0
        event.listen(self.app.extensions["database"].engine, "connect", self._count)
        with self.app.app_context(), transaction(Environment.production) as session:
            declaration = read_declaration(INTEGRATION, self.app.extensions["catalogue"])
            self.names = {"integration": apply_declaration(session, declaration, now())[0].id, "first": FIRST}
            self.names |= {name: f"{kind}{0:023x}" for name, kind in KINDS.items()}
        fill(instance, count, OPERATOR)
        self.client = self.app.test_client()
        with self.app.app_context(), transaction() as session:
            operator, _ = invite(session, OPERATOR, Role.admin, now())
            row, token = start_session(session, operator, browser="", now=now())
            self.session_id = row.id
            self._leave_sessions(session, operator, count)
        self.client.set_cookie("portal-session", token, path="/dashboard")
        found = re.search(r'<option value="([0-9a-f]{24})">', self.client.get("/dashboard/runs").text)
        assert found
        self.names["workflow"] = found[1]

    def _leave_sessions(self, session, operator: Operator, count: int) -> None:
        """Signed in very often, and never signed out."""
        for number in range(count // 10):
            start_session(session, operator, browser=f"browser {number}", now=now())

    def _count(self, connection, _record) -> None:
        connection.set_progress_handler(self._on, AT_ONCE)

    def _on(self) -> int:
        self.steps += AT_ONCE
        return 0

    def look_at(self, environment: Environment) -> None:
        """Show that environment from here on."""
        with self.app.app_context(), transaction() as session:
            session.get_one(OperatorSession, self.session_id).environment = environment

    def cost(self, path: str) -> int:
        """What a page costs the database, once it is known."""
        path = path.format(**self.names)
        for _ in range(2):
            self.steps = 0
            answer = self.client.get(f"/dashboard/{path}")
            assert answer.status_code in (200, 404), path
        return self.steps


@pytest.fixture(scope="module")
def portals(tmp_path_factory, blank) -> Iterator[tuple[Filled, Filled]]:
    """One with few rows, one with many."""
    both = []
    for count in (FEW, MANY):
        instance = tmp_path_factory.mktemp("filled") / "instance"
        shutil.copytree(blank, instance)
        both.append(Filled(instance, count))
    yield both[0], both[1]
    for one in both:
        close(one.app)


@pytest.mark.parametrize("environment", Environment)
def test_no_page_costs_more_with_more_rows_behind_it(portals, environment):
    for one in portals:
        one.look_at(environment)
    costs = {asked: tuple(one.cost(asked) for one in portals) for asked in ASKED}
    steep = {asked: cost for asked, cost in costs.items() if cost[1] > 1.2 * cost[0] + 200}
    assert not steep
