"""Every page costs the same with sixteen thousand rows behind it as with four thousand, whatever is asked of it.

What SQLite does is counted in its own steps, which are the same on every machine: no clock is read.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from benchmarks.dashboard import OPERATOR
from benchmarks.filling import NAMES, fill
from benchmarks.questions import QUESTIONS, pages, unasked
from portal import create_app
from portal.attention import figures
from portal.clock import now
from portal.db import transaction
from portal.demo.seed import INTEGRATION
from portal.environments import Environment
from portal.integrations.declaration import read_declaration
from portal.integrations.rules import apply_declaration
from portal.operators.models import OperatorSession, Role
from portal.operators.rules import invite, start_session
from portal.settings import read_settings
from tests.stage import close

FEW, MANY = 4_000, 16_000
AT_ONCE = 10  # steps between two looks at the count
ASKED = [f"{name}?{query}" for name, queries in QUESTIONS.items() for query in queries]


class Filled:
    """A portal with rows of every kind, and an operator who looks at one of its environments."""

    def __init__(self, instance: Path, count: int) -> None:
        self.app = create_app(read_settings(instance=instance))
        self.steps = 0
        event.listen(self.app.extensions["database"].engine, "connect", self._count)
        with self.app.app_context(), transaction(Environment.production) as session:
            declaration = read_declaration(INTEGRATION, self.app.extensions["catalogue"])
            self.names = NAMES | {"integration": apply_declaration(session, declaration, now())[0].id}
            operator, _ = invite(session, OPERATOR, Role.admin, now())
            row, token = start_session(session, operator, browser="", now=now())
            self.session_id = row.id
        self.app.extensions["database"].engine.dispose()
        fill(instance, count, OPERATOR)
        self.client = self.app.test_client()
        self.client.set_cookie("portal-session", token, path="/dashboard")
        found = re.search(r'<option value="([0-9a-f]{24})">', self.client.get("/dashboard/runs").text)
        assert found
        self.names["workflow"] = found[1]

    def _count(self, connection, _record) -> None:
        connection.set_progress_handler(self._on, AT_ONCE)

    def _on(self) -> int:
        self.steps += AT_ONCE
        return 0

    def look_at(self, environment: Environment) -> None:
        """Show that environment from here on."""
        with self.app.app_context(), transaction() as session:
            session.get_one(OperatorSession, self.session_id).environment = environment

    def ask(self, path: str) -> tuple[int, str]:
        """The status and the text of a page."""
        answer = self.client.get(f"/dashboard/{path.format(**self.names)}".rstrip("/"))
        return answer.status_code, answer.text

    def cost(self, path: str) -> int:
        """What a page costs the database, once it is known."""
        for _ in range(2):
            self.steps = 0
            assert self.ask(path)[0] in (200, 303, 404), path
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
def test_no_page_costs_more_with_more_rows_behind_it(portals, environment, monkeypatch):
    monkeypatch.setattr(figures, "MOST_COUNTED", 1_000)  # both have more: what the overview counts to is the same
    for one in portals:
        one.look_at(environment)
    every = [*pages(portals[0].app), *ASKED]
    costs = {asked: tuple(one.cost(asked) for one in portals) for asked in every}
    steep = {asked: cost for asked, cost in costs.items() if cost[1] > 1.2 * cost[0] + 200}
    assert not steep


def test_every_list_is_asked_for_with_each_of_its_filters_and_orders(portals):
    """So that whoever adds one has its cost counted here, and measured by `make bench`."""
    portal = portals[1]
    portal.look_at(Environment.production)
    assert [question for page in pages(portal.app) for question in unasked(page, portal.ask)] == []
    assert set(QUESTIONS) <= set(pages(portal.app))
