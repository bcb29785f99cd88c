"""Webhooks of apps: taken when they are what the app declares, registered at the app and taken away again."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
import sqlalchemy as sa

from portal import db
from portal.clock import now
from portal.db import transaction
from portal.environments import Environment
from portal.installations.changing import delete_user, remove_workflow
from portal.runs import rules
from portal.runs.models import Run
from portal.runs.stopping import stop_run
from portal.sandbox.hooks import list_webhooks, tell_webhooks
from portal.sandbox.store import add_order
from portal.triggers import hooks
from portal.triggers.models import Hook
from portal.triggers.rules import start_children, stop_children
from portal.users.models import User
from portal.workflows.models import ChildWorkflow
from tests.runtime import SEND, answers, workflow
from tests.stage import wait_until

PLACED = workflow("{webhook: order_placed}", SEND, name="Placed")


@pytest.fixture
def client(live):
    return live.app.test_client()


def registered(world, child):
    """The webhooks of a child that the shop knows: (address, secret) of each."""
    with transaction() as session:
        hook = session.get(Hook, child.id)
        if hook is None:
            return []
        own = json.loads(world.app.extensions["keys"].open(hook.sealed, child.id))
    return [(u, s) for _, u, s in list_webhooks(world.shop.instance) if u.endswith(f"/hooks/{own['address']}")]


def installed(world, user=""):
    child = world.install(PLACED, user)
    wait_until(lambda: len(registered(world, child)) == 1)
    return child


def post(client, address, body, secret=None, **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    if secret is not None:
        headers["X-Sandbox-Signature"] = hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    return client.post(address.removeprefix("http://portal.example"), data=raw, headers=headers)


def change(child, what):
    with transaction() as session:
        what(session, session.get_one(ChildWorkflow, child.id))


def test_a_signed_webhook_starts_a_run_and_the_same_one_again_starts_none(live, client):
    child = installed(live)
    ((address, secret),) = registered(live, child)
    order = {"entity_id": 7, "total": 1}
    assert post(client, address, order, secret).json == {"message": "Taken", "runs": 1}
    assert post(client, address, order, secret).json == {"message": "Taken", "runs": 0}
    (run,) = live.settled(child, 1)
    assert (run.state, run.trigger) == ("succeeded", "webhook")
    assert live.ingest.of(child.user)[0].json == order


@pytest.mark.parametrize(
    ("body", "signature", "status"),
    [
        (b'{"entity_id": 1}', None, 401),
        (b'{"entity_id": 1}', "", 401),
        (b'{"entity_id": 1}', "0" * 64, 401),
        (b'{"entity_id": 1}', "caf\xe9", 401),
        (b"no json", True, 400),
        (b"null", True, 400),
        (b"[" * 100_000, True, 400),
        (b'{"a":' * 900 + b"1" + b"}" * 900, True, 200),
        (b" " * 300_000, True, 413),
        (b"", None, 401),
    ],
)
def test_what_is_not_what_the_app_declares_is_refused_in_json(live, client, body, signature, status):
    child = installed(live)
    ((address, secret),) = registered(live, child)
    headers = {} if signature in (None, True) else {"X-Sandbox-Signature": signature}
    answer = post(client, address, body, secret if signature is True else None, **headers)
    assert answer.status_code == status
    assert set(answer.json) >= {"message"}
    assert secret not in answer.text
    assert [run.state for run in live.runs(child)] in ([], ["failed"])


def test_a_webhook_tells_of_a_hundred_items_at_the_most(live, client):
    child = installed(live)
    ((address, secret),) = registered(live, child)
    orders = [{"entity_id": number} for number in range(101)]
    answer = post(client, address, orders, secret)
    assert (answer.status_code, answer.json["message"]) == (
        413,
        "A webhook can tell of 100 items here, and this one has 101: send them in several.",
    )
    assert live.runs(child) == []
    assert post(client, address, orders[:100], secret).json["runs"] == 100


def test_who_has_enough_to_do_asks_for_the_webhook_later_and_loses_nothing(live, client, monkeypatch):
    monkeypatch.setattr(rules, "MOST_AHEAD", 3)
    child = installed(live)
    ((address, secret),) = registered(live, child)
    live.ingest.behaves_for[child.user] = answers(429, Retry_After="3600")
    assert post(client, address, [{"entity_id": number} for number in range(3)], secret).json["runs"] == 3
    answer = post(client, address, {"entity_id": 3}, secret)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    assert answer.json["message"].startswith("3 items wait here already")
    first = live.runs(child)[0]
    with transaction() as session:
        stop_run(session, session.get_one(Run, first.id), now())
    assert post(client, address, {"entity_id": 3}, secret).json["runs"] == 1
    change(child, lambda session, row: stop_children(session, [row], now()))


def test_items_at_a_delay_are_not_in_the_way_of_others(live, client, monkeypatch):
    monkeypatch.setattr(rules, "MOST_AHEAD", 2)
    child = live.install(workflow("{webhook: order_placed}", "{delay: 1h}", name="Waits"))
    wait_until(lambda: len(registered(live, child)) == 1)
    ((address, secret),) = registered(live, child)
    for number in range(4):
        assert post(client, address, {"entity_id": number}, secret).json["runs"] == 1
        live.reaches(live.runs(child)[-1].id, "waiting")


def test_a_webhook_that_crosses_the_change_of_its_address_is_asked_for_again(live, client, monkeypatch):
    child = installed(live)
    ((address, secret),) = registered(live, child)
    again = []
    listening = hooks.listening

    def while_another_link_is_finished(*args):
        found = listening(*args)
        if not again:
            again.append(live.install(PLACED, child.user))
        return found

    monkeypatch.setattr(hooks, "listening", while_another_link_is_finished)
    answer = post(client, address, {"entity_id": 5}, secret)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert set(answer.json) == {"message"}
    assert post(client, address, {"entity_id": 5}, secret).json["runs"] == 1
    assert [run.state for run in live.settled(again[0], 1)] == ["succeeded"]


def test_a_busy_database_is_told_in_json_and_the_webhook_is_taken_later(live, client, monkeypatch):
    child = installed(live)
    ((address, secret),) = registered(live, child)
    with live.app.extensions["database"].engine.connect() as other:
        other.execute(sa.update(Hook).values(error=None))  # it may have to wait for the engine's own writing
        monkeypatch.setattr(db, "BUSY_SECONDS", 0.01)
        answer = post(client, address, {"entity_id": 6}, secret)
        other.rollback()
    assert (answer.status_code, answer.headers["Retry-After"], set(answer.json)) == (503, "5", {"message"})
    assert post(client, address, {"entity_id": 6}, secret).json["runs"] == 1


def test_an_address_can_not_be_guessed_and_says_nothing_about_others(live, client):
    child = installed(live)
    ((address, secret),) = registered(live, child)
    part = address.rpartition("/")[2]
    assert len(part) >= 32
    for wrong in (part[:-1], part + "x", part.swapcase(), child.id, "%00"):
        answer = post(client, f"/hooks/{wrong}", {"entity_id": 1}, secret)
        assert (answer.status_code, set(answer.json)) == (404, {"message"})
    assert client.get(f"/hooks/{part}").status_code == 405
    assert part.encode() not in live.dump()
    assert secret.encode() not in live.dump()


def test_a_child_that_is_not_active_takes_nothing(live, client):
    child = installed(live)
    ((address, secret),) = registered(live, child)
    change(child, lambda session, row: stop_children(session, [row], now()))
    assert post(client, address, {"entity_id": 1}, secret).status_code == 404
    wait_until(lambda: address not in [url for _, url, _ in list_webhooks(live.shop.instance)])
    change(child, lambda session, row: start_children(session, [row], now()))
    wait_until(lambda: len(registered(live, child)) == 1)
    assert registered(live, child)[0][0] != address


@pytest.mark.parametrize("way", ["uninstall", "user"])
def test_what_is_taken_away_is_taken_away_at_the_shop_too(live, way):
    child = installed(live)
    ((address, _),) = registered(live, child)
    if way == "uninstall":
        change(child, lambda session, row: remove_workflow(session, row, now()))
    else:
        with transaction(Environment.production) as session:
            delete_user(session, session.get_one(User, child.user), now())
    wait_until(lambda: address not in [url for _, url, _ in list_webhooks(live.shop.instance)])


def test_a_shop_that_is_away_is_asked_again(live):
    from tests.stage import answer

    replies = [500, 503, 200]
    behaviour = lambda: answer(replies.pop(0) if replies else 200, b'{"id": 5}')  # noqa: E731
    live.provider.calls.clear()
    lists = answer(200, b"[]")
    live.provider.behave = lambda handler: (lists if handler.command == "GET" else behaviour())(handler)
    live.provider.RequestHandlerClass.do_POST = live.provider.RequestHandlerClass.do_GET
    live.provider.RequestHandlerClass.do_DELETE = live.provider.RequestHandlerClass.do_GET
    child = live.install(PLACED, values={"store_url": live.provider.url, "access_token": "t"})

    def hook_id():
        with transaction() as session:
            return session.get_one(Hook, child.id).hook_id

    wait_until(lambda: hook_id() == "5")
    assert [path for path, _ in live.provider.calls] == ["/rest/V1/webhooks"] * 5  # looked for before each new try
    replies += [500, 502, 200]
    change(child, lambda session, row: stop_children(session, [row], now()))
    wait_until(lambda: [path for path, _ in live.provider.calls][5:] == ["/rest/V1/webhooks/5"] * 3)


def test_a_registration_that_is_overtaken_by_its_end_is_taken_away_again(live):
    import threading

    from tests.stage import answer

    asked, go = threading.Event(), threading.Event()
    live.provider.calls.clear()

    def behave(handler):
        if handler.command == "POST":
            asked.set()
            go.wait(20)
        answer(200, b'{"id": 9}')(handler)

    live.provider.behave = behave
    for method in ("do_POST", "do_DELETE"):
        setattr(live.provider.RequestHandlerClass, method, live.provider.RequestHandlerClass.do_GET)
    child = live.install(PLACED, values={"store_url": live.provider.url, "access_token": "t"})
    assert asked.wait(20)
    change(child, lambda session, row: stop_children(session, [row], now()))
    go.set()
    wait_until(lambda: "/rest/V1/webhooks/9" in [path for path, _ in live.provider.calls])


def test_a_renewed_link_keeps_the_address_and_what_was_seen(live, client):
    child = installed(live)
    ((address, secret),) = registered(live, child)
    post(client, address, {"entity_id": 1}, secret)
    live.settled(child, 1)
    again = live.install(PLACED, child.user)
    assert again.id != child.id
    assert registered(live, again) == [(address, secret)]
    assert post(client, address, {"entity_id": 1}, secret).json["runs"] == 0
    assert post(client, address, {"entity_id": 2}, secret).json["runs"] == 1
    live.settled(again, 1)
    assert [asked.json["entity_id"] for asked in live.ingest.of(child.user)] == [1, 2]


def test_the_sandbox_shop_sends_what_it_promises(live, client, monkeypatch):
    child = installed(live)
    sent = []
    monkeypatch.setattr(
        "portal.sandbox.hooks.urllib.request.urlopen", lambda request, timeout: sent.append(request) or Taken()
    )
    order = add_order(live.shop.instance)
    tell_webhooks(live.shop.instance, order)
    ((address, _),) = registered(live, child)
    (mine,) = [request for request in sent if request.full_url == address]
    answer = client.post(
        address.removeprefix("http://portal.example"), data=mine.data, headers=dict(mine.header_items())
    )
    assert answer.json["runs"] == 1


class Taken:
    status = 200

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass
