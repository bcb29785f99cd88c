"""Registering webhooks at an app that is away, whose answers are lost, or while our own database is busy: one stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

import pytest

from portal.clock import now
from portal.db import engine, transaction
from portal.triggers.models import Hook
from portal.triggers.rules import start_children, stop_children
from portal.workflows.models import ChildWorkflow
from tests.runtime import SEND, workflow
from tests.stage import LOCKED, answer, breaking, wait_until

PLACED = workflow("{webhook: order_placed}", SEND, name="Placed")


class Desk:
    """An app that keeps webhooks; what it does before it answers, and whether it answers at all, the test says."""

    def __init__(self) -> None:
        self.hooks: dict[int, str] = {}
        self.asked: list[str] = []
        self.number = 0
        self.next: list[Callable[[BaseHTTPRequestHandler], bool]] = []
        self.posted: Callable[[], None] = lambda: None

    def behave(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.asked.append(handler.command)
        if self.next and self.next[0](handler):
            self.next.pop(0)
            return
        if handler.command == "GET":
            listed = [{"id": number, "url": url} for number, url in self.hooks.items()]
            answer(200, json.dumps(listed).encode())(handler)
        elif handler.command == "DELETE":
            self.hooks.pop(int(handler.path.rpartition("/")[2]), None)
            answer(200, b"true")(handler)
        else:
            self.number += 1
            self.hooks[self.number] = json.loads(body)["url"]
            self.posted()
            if self.next:
                self.next.pop(0)  # the answer is lost
                return
            answer(200, json.dumps({"id": self.number}).encode())(handler)


def loses_the_answer(handler: BaseHTTPRequestHandler) -> bool:
    """It does what it is asked for, and nobody hears of it."""
    return handler.command != "POST"


def fails(handler: BaseHTTPRequestHandler) -> bool:
    answer(500)(handler)
    return True


@pytest.fixture
def desk(live):
    made = Desk()
    live.provider.behave = made.behave
    for method in ("do_POST", "do_DELETE"):
        setattr(live.provider.RequestHandlerClass, method, live.provider.RequestHandlerClass.do_GET)
    return made


@pytest.fixture
def install(live, desk):
    return lambda: live.install(PLACED, values={"store_url": live.provider.url, "access_token": "t"})


def hook_of(child):
    with transaction() as session:
        return session.get(Hook, child.id)


def is_registered(child):
    return lambda: hook_of(child) is not None and hook_of(child).hook_id is not None


def change(child, what):
    with transaction() as session:
        what(session, [session.get_one(ChildWorkflow, child.id)], now())


def test_an_address_is_registered_at_the_first_try_without_looking(desk, install):
    child = install()
    wait_until(is_registered(child))
    assert desk.asked == ["POST"]


def test_a_lost_answer_leaves_one_registration_which_is_taken_away_later(desk, install):
    desk.next.append(loses_the_answer)
    child = install()
    wait_until(is_registered(child))
    assert desk.asked == ["POST", "GET"]
    assert len(desk.hooks) == 1

    change(child, stop_children)
    wait_until(lambda: desk.hooks == {})


def test_what_the_app_does_not_know_is_registered_after_looking(desk, install):
    desk.next += [fails, fails]
    child = install()
    wait_until(is_registered(child))
    assert desk.asked == ["POST", "GET", "GET", "POST"]
    assert len(desk.hooks) == 1


def test_webhooks_of_others_are_not_taken_for_ours(desk, install):
    desk.hooks[99] = "https://portal.example/hooks/somebody-else"
    desk.next.append(fails)
    child = install()
    wait_until(is_registered(child))
    assert hook_of(child).hook_id == "1"
    assert sorted(desk.hooks) == [1, 99]


@pytest.mark.parametrize("reply", [b'{"message": "none"}', b"no json", b'[1, null, {"url": 7}]'])
def test_a_listing_that_can_not_be_read_registers_nothing_blindly(desk, install, reply):
    def answers_oddly(handler):
        answer(200, reply)(handler)
        return True

    desk.next += [fails, answers_oddly]
    child = install()
    wait_until(is_registered(child))
    assert len(desk.hooks) == 1


WHAT_THE_APP_SAID = "hook_id=?"  # as it is written down


def test_a_busy_database_registers_nothing_twice(desk, install):
    with breaking(engine(), WHAT_THE_APP_SAID, LOCKED, times=2) as busy:
        child = install()
        wait_until(is_registered(child))
    assert len(busy) == 2
    assert desk.asked == ["POST"]


def test_a_crash_after_the_app_was_asked_leaves_one_registration(desk, install):
    crash = RuntimeError("the process ended here, and the step is done again")
    with breaking(engine(), WHAT_THE_APP_SAID, crash, times=1):
        child = install()
        wait_until(is_registered(child))
    assert desk.asked == ["POST", "GET"]
    assert len(desk.hooks) == 1


def test_a_registration_that_fails_is_tried_again_in_every_life_of_a_workflow(desk, install):
    desk.next += [fails, fails]
    child = install()
    wait_until(is_registered(child))
    for _ in range(2):
        change(child, stop_children)
        wait_until(lambda: desk.hooks == {})
        desk.next += [fails, fails]
        change(child, start_children)
        wait_until(is_registered(child))
    assert len(desk.hooks) == 1
