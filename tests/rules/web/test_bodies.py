"""Bodies are read before the request takes its turn, and never more of them than is taken."""

from __future__ import annotations

import threading
from io import BytesIO

import pytest
from werkzeug.test import EnvironBuilder

from portal.web import turns
from portal.web.bodies import AT_ONCE, LARGEST_BODY, UNREAD, Bodies


class Slow(BytesIO):
    """A body that comes when the test says so."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.is_awaited, self.may_come = threading.Event(), threading.Event()

    def read(self, size: int | None = -1) -> bytes:
        self.is_awaited.set()
        assert self.may_come.wait(30)
        return super().read(size)


def posted(body: BytesIO, **facts):
    environ = EnvironBuilder("/embedded-install", method="POST", input_stream=body).get_environ()
    return {**environ, "CONTENT_LENGTH": "7", "CONTENT_TYPE": "application/x-www-form-urlencoded", **facts}


def test_a_body_that_takes_its_time_holds_nobodys_turn(app):
    body, told = Slow(b"token=x"), []
    asking = threading.Thread(target=lambda: app.wsgi_app(posted(body), lambda status, *_: told.append(status)))
    asking.start()
    assert body.is_awaited.wait(30)
    assert turns._lock.acquire(timeout=0)
    turns._lock.release()
    body.may_come.set()
    asking.join(30)
    assert told == ["404 NOT FOUND"]  # the page of a token that is none: it was read as a whole


def test_who_finds_no_place_is_told_to_come_again(monkeypatch):
    monkeypatch.setattr("portal.web.bodies.PATIENCE", 0)
    bodies, slow = Bodies(), [Slow(b"token=x") for _ in range(AT_ONCE)]
    waiting = [threading.Thread(target=bodies.read, args=[posted(body)]) for body in slow]
    for thread, body in zip(waiting, slow, strict=True):
        thread.start()
        assert body.is_awaited.wait(30)
    bodies.read(late := posted(BytesIO(b"token=x")))
    assert late[UNREAD]
    for body in slow:
        body.may_come.set()
    for thread in waiting:
        thread.join(30)
    bodies.read(later := posted(BytesIO(b"token=x")))
    assert UNREAD not in later
    assert later["wsgi.input"].read() == b"token=x"


@pytest.mark.parametrize(
    ("facts", "left"),
    [
        ({}, LARGEST_BODY * 2 - 7),
        ({"CONTENT_LENGTH": str(LARGEST_BODY * 3)}, LARGEST_BODY - 1),
        ({"CONTENT_LENGTH": "9" * 5000}, LARGEST_BODY - 1),
        ({"CONTENT_LENGTH": "", "wsgi.input_terminated": True}, LARGEST_BODY - 1),
        ({"CONTENT_LENGTH": "-1"}, LARGEST_BODY * 2),
        ({"REQUEST_METHOD": "GET"}, LARGEST_BODY * 2),
    ],
)
def test_no_more_is_read_than_is_taken(facts, left):
    sent = BytesIO(b"x" * LARGEST_BODY * 2)
    Bodies().read(posted(sent, **facts))
    assert len(sent.read()) == left
