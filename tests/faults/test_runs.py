"""Orders reach the ingest at least once and in their order, whatever is killed, hangs or is away meanwhile."""

from __future__ import annotations

import random
import threading
import time

import pytest

from portal.clock import now
from portal.db import transaction
from portal.runs.models import Run
from portal.runs.rules import Item, item_of, record_items
from portal.sandbox.store import add_order
from portal.triggers.models import Watch
from portal.workflows.models import ChildWorkflow
from tests.runtime import SEND, Ingest, World, answers, end, make_world, takes, workflow
from tests.stage import close, hang, wait_until

ORDERS = workflow("{poll: order_created, every: 1s}", SEND, name="Orders")
EVENTS = workflow("{event: made}", SEND, name="Events")


@pytest.fixture
def ingest(server):
    made = Ingest()
    server.env |= {"PORTAL_DEMO_INGEST_URL": made.url, "PORTAL_ENGINE_POLLING": "0.01"}
    yield made
    made.closing.set()
    end(made)


@pytest.fixture
def world(app, instance, shop, provider, ingest):
    """The same data folder, seen from this process; the server works on it in its own."""
    made = make_world(instance, shop, provider, ingest)
    with made.app.app_context():
        yield World(made.app, ingest, shop, provider)
    close(made.app)


def give(child, items):
    with transaction() as session:
        row = session.get_one(ChildWorkflow, child.id)
        record_items(session, row, [Item(item, str(item)) for item in items], trigger="event", now=now())


def test_five_hundred_orders_survive_a_kill_at_any_moment(server, world, ingest):
    children = [world.install(EVENTS) for _ in range(10)]
    random.seed(6)  # the moments are spread over the work, the same ones every time
    server.start()
    for turn in range(6):
        for number, child in enumerate(children):
            give(child, range(turn * 10 if turn < 5 else 50, turn * 10 + 10 if turn < 5 else 50))
            assert number < 10
        threading.Event().wait(random.uniform(0.1, 0.9))
        server.kill()
        server.start()
    wait_until(lambda: all(len({a.key for a in ingest.of(c.user)}) == 50 for c in children), seconds=60)
    for child in children:
        first: dict[str, int] = {}
        for asked in ingest.of(child.user):
            assert first.setdefault(asked.key, asked.json) == asked.json
        assert list(first.values()) == list(range(50))
    wait_until(lambda: all(run.is_finished for child in children for run in world.runs(child)))
    assert {run.state for child in children for run in world.runs(child)} == {"succeeded"}


def test_a_shop_that_comes_back_with_a_thousand_orders_loses_none(server, world, ingest, provider):
    child = world.install(ORDERS)
    server.start()

    def has_started():
        with transaction() as session:
            return session.get_one(Watch, child.id).start is not None

    wait_until(has_started)
    server.kill()
    at = now()
    made = [add_order(world.shop.instance, at)["entity_id"] for _ in range(1000)]  # pages of one moment
    server.start()
    # Each is taken, in order; that taken ones reach the ingest is told above, fifty of them show it here.
    wait_until(lambda: world.count(Run, child_id=child.id) >= 1000, seconds=60)
    keys = world.app.extensions["keys"]
    assert [item_of(keys, run)["entity_id"] for run in world.runs(child)] == made
    wait_until(lambda: len(ingest.of(child.user)) >= 50, seconds=60)
    assert [asked.json["entity_id"] for asked in ingest.of(child.user)][:50] == made[:50]


@pytest.mark.parametrize("way", ["answers 500", "hangs", "is slow"])
def test_an_ingest_that_is_bad_for_one_user_holds_up_nobody_else(server, world, ingest, way):
    bad, good = world.install(EVENTS), world.install(EVENTS)
    slow = lambda _asked: threading.Event().wait(1) or takes(_asked)  # noqa: E731
    ingest.behaves_for[bad.user] = {"answers 500": answers(500), "hangs": ingest.hang, "is slow": slow}[way]
    server.start()
    give(bad, range(40))
    wait_until(lambda: len(ingest.of(bad.user)) >= 1)
    give(good, range(40))
    wait_until(lambda: len(ingest.of(good.user)) == 40)
    assert [asked.json for asked in ingest.of(good.user)] == list(range(40))
    assert len(ingest.of(bad.user)) < 40
    assert {asked.json for asked in ingest.of(bad.user)} != set(range(40))


def test_the_server_ends_within_five_seconds_also_while_a_shop_hangs(server, world, provider):
    provider.behave = hang
    world.install(ORDERS, values={"store_url": provider.url, "access_token": "t"})
    server.start()
    wait_until(lambda: len(provider.calls) >= 1)
    begun = time.monotonic()
    server.child.terminate()
    server.child.wait(10)
    assert time.monotonic() - begun < 5
