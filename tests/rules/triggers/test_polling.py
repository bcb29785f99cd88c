"""Polls against a model: exactly the items made after the install, each once, in the order in which they were seen."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from portal.catalogue import load_catalogue
from portal.db import transaction
from portal.runs import rules
from portal.runs.models import Run
from portal.runs.rules import item_of
from portal.triggers import asking, polling, watching
from portal.triggers import rules as trigger_rules
from portal.triggers.models import Watch
from tests.runtime import Ingest, end, make_world, workflow
from tests.stage import close

FORMAT = "%Y-%m-%d %H:%M:%S"
OVERLAP = timedelta(minutes=2)
APP = """
name: desk
title: Desk
docs: https://desk.example/docs
initials: D
color: "#123456"
purpose: It is tried.
fields:
  url: {title: Address, type: url, hint: Where it is.}
  key: {title: Key, type: secret, hint: The key., find: [Look there.]}
base_url: "{url}"
hosts: any
auth: {bearer: "{key}"}
triggers:
  made:
    title: Made
    poll:
      get: /items
      query: {since: "{since}", page: "{page}", size: "{page_size}"}
      items: items
      key: id
      cursor: {value: at, overlap: 2m, lost: [410]}
      page_size: 3
"""


class Desk(ThreadingHTTPServer):
    """A provider of items with a clock of its own. `hidden` are items that can't be seen yet."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.begin()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def begin(self) -> None:
        self.items: list[tuple[int, datetime]] = []
        self.hidden: set[int] = set()
        self.clock = datetime(2026, 3, 2, 12, tzinfo=UTC)
        self.troubles: list[int] = []
        self.last_page_again = False

    def page(self, since: str, page: int, size: int) -> list[dict[str, object]]:
        seen = sorted((at, number) for number, at in self.items if number not in self.hidden)
        fitting = [(at, number) for at, number in seen if at.strftime(FORMAT) >= since]
        pages = [fitting[n : n + size] for n in range(0, len(fitting), size)]
        beyond = pages[-1] if pages and self.last_page_again else []
        chosen = pages[page - 1] if page <= len(pages) else beyond
        return [{"id": number, "at": at.strftime(FORMAT)} for at, number in chosen]


class _Answering(BaseHTTPRequestHandler):
    server: Desk
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        status = self.server.troubles.pop(0) if self.server.troubles else 200
        found = self.server.page(asked["since"], int(asked["page"]), int(asked["size"]))
        body = json.dumps({"items": found if status == 200 else []}).encode()
        self.close_connection = True
        self.send_response_only(status)
        self.send_header("Date", format_datetime(self.server.clock, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def desk(blank):
    """A portal in which the desk is an app, and the desk; its context is entered."""
    folder = Path(tempfile.mkdtemp())
    shutil.copytree(blank, folder / "instance")
    (folder / "desk.yaml").write_text(APP)
    made, ingest = Desk(), Ingest()
    place = SimpleNamespace(server_port=made.server_port, url=made.url, token="")
    world = make_world(folder / "instance", place, place, ingest, catalogue=(folder / "desk.yaml",))
    with world.app.app_context():
        yield SimpleNamespace(world=world, desk=made)
    close(world.app)
    end(made, ingest)
    shutil.rmtree(folder)


def test_polls_find_each_item_once(desk, monkeypatch):
    world, server = desk.world, desk.desk
    ours = SimpleNamespace(now=datetime(2026, 3, 2, 12, tzinfo=UTC))
    for module in (watching, polling, asking, trigger_rules):
        if hasattr(module, "now"):
            monkeypatch.setattr(module, "now", lambda: ours.now)
    monkeypatch.setattr(polling, "TOGETHER", 2)  # so that a page takes two transactions
    monkeypatch.setattr(rules, "MOST_AHEAD", 7)

    class Polls(RuleBasedStateMachine):
        @initialize(skew=st.sampled_from([0, 0, 3600, -7200, 90]), old=st.integers(0, 5), again=st.booleans())
        def install(self, skew, old, again):
            server.begin()
            server.last_page_again = again
            server.clock = ours.now + timedelta(seconds=skew)
            self.number, self.made = 0, []
            for back in range(old):
                self._make(server.clock - timedelta(seconds=30 * (back + 1)))
            self.before = set(range(1, self.number + 1))
            self._pass(1)
            # The moment of the installation is the portal's own; the test says which.
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr("tests.runtime.now", lambda: ours.now)
                self.child = world.install(
                    workflow("{poll: made, app: desk}", apps="[desk]", name="Desk"),
                    values={"url": server.url, "key": "none"},
                    account="Desk",
                )
            self._pass(1)
            self.begun = server.clock

        def _pass(self, seconds):
            ours.now += timedelta(seconds=seconds)
            server.clock += timedelta(seconds=seconds)

        def _make(self, at):
            self.number += 1
            server.items.append((self.number, at.replace(microsecond=0)))
            return self.number

        @rule(count=st.integers(1, 8), is_late=st.booleans())
        def items_come(self, count, is_late):
            if not server.hidden:
                self.hidden_since = ours.now
            for _ in range(count):
                number = self._make(server.clock)
                self.made.append(number)
                if is_late:
                    server.hidden.add(number)
                    is_late = False

        @precondition(lambda self: server.hidden)
        @rule()
        def what_was_hidden_is_seen(self):
            server.hidden.clear()

        @rule(seconds=st.integers(1, 60))
        def time_passes(self, seconds):
            # What is hidden is seen within the overlap that the app's declaration says.
            if server.hidden and ours.now + timedelta(seconds=seconds) >= self.hidden_since + OVERLAP:
                server.hidden.clear()
                self.poll()
            self._pass(seconds)

        @rule(status=st.sampled_from([500, 503, 429, 410]))
        def the_app_is_in_trouble(self, status):
            server.troubles.append(status)

        @rule(seconds=st.integers(10, 110))
        def its_clock_is_put_back(self, seconds):
            # Not behind the installation: what is made then can't be told from what was there before.
            back = server.clock - timedelta(seconds=seconds)
            if not server.hidden and back > self.begun:
                self.poll_to_the_end()
                server.clock = back

        @rule(most=st.integers(1, 4))
        def poll(self, most=4):
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(polling, "MOST_PAGES", most)
                polling.ask_for(self.child.id)

        @rule()
        def runs_get_through(self):
            with transaction() as session:
                session.execute(
                    sa.update(Run).where(Run.child_id == self.child.id).values(state="succeeded", ended_at=ours.now)
                )

        @rule(transactions=st.integers(0, 4))
        def crash_while_polling(self, transactions):
            left = SimpleNamespace(count=transactions)
            record = polling._record

            def crash(*args, **kwargs):
                if left.count == 0:
                    raise KeyboardInterrupt
                left.count -= 1
                return record(*args, **kwargs)

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(polling, "_record", crash)
                try:
                    polling.ask_for(self.child.id)
                except KeyboardInterrupt:
                    pass
            watching.release_own("local")

        @invariant()
        def nothing_is_taken_twice_nor_from_before(self):
            if hasattr(self, "child"):
                self.taken = self._taken()
                assert len(self.taken) == len(set(self.taken))
                assert set(self.taken) <= set(self.made)
                waiting = [run for run in world.runs(self.child) if not run.is_finished]
                assert len(waiting) <= rules.MOST_AHEAD + polling.TOGETHER - 1

        def _taken(self):
            keys = world.app.extensions["keys"]
            return [item_of(keys, run)["id"] for run in world.runs(self.child)]

        def poll_to_the_end(self):
            server.troubles.clear()
            for _ in range(60):
                self.runs_get_through()
                self.poll()
                with transaction() as session:
                    if session.get_one(Watch, self.child.id).walk_from is None:
                        break
            self.runs_get_through()
            self.poll()

        def teardown(self):
            if hasattr(self, "child"):
                server.hidden.clear()
                self.poll_to_the_end()
                self.poll_to_the_end()
                assert sorted(self._taken()) == sorted(self.made)

    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Polls,
        settings=settings(
            max_examples=30,
            stateful_step_count=20,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_app_of_this_test_is_declared_as_any_other(tmp_path):
    (tmp_path / "desk.yaml").write_text(APP)
    assert load_catalogue((tmp_path / "desk.yaml",))["desk"].triggers["made"].poll.page_size == 3
