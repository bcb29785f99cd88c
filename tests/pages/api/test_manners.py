"""What holds for every call: pages, repeated calls, limits, request ids, words for what can't be read."""

from __future__ import annotations

import io
import json
import re
from datetime import timedelta

import pytest
import sqlalchemy as sa
import structlog

from portal.api import hooks
from portal.clock import now
from portal.db import transaction
from portal.idempotency.models import IdempotentCall
from portal.web.limits import Limiter
from tests.backend import data


def test_every_user_is_on_exactly_one_page(backend):
    names = [f"user{number:03}" for number in range(25)]
    backend.post("/users/batch", {"users": [{"username": name} for name in names]})
    seen, cursor, pages = [], "", 0
    while True:
        page = backend.get(f"/users?limit=7{cursor}")
        seen += [one["username"] for one in page["data"]]
        pages += 1
        if "nextCursor" not in page:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert (sorted(seen), pages) == (names, 4)


@pytest.mark.parametrize("cursor", ["x", "e30", "WyJhIiwgImIiXQ", "%F0%9F%98%80"])
def test_a_cursor_that_no_page_gave_is_refused(backend, cursor):
    assert backend.refusal("GET", f"/users?cursor={cursor}")[0] == 404


def test_newest_links_come_first(backend, user, integration):
    made = [backend.get(f"/users/{user}/integrations/{integration}/install-url")["linkId"] for _ in range(3)]
    first = backend.get("/links?limit=2")
    rest = backend.get(f"/links?limit=2&cursor={first['nextCursor']}")
    assert [one["linkId"] for one in first["data"] + rest["data"]] == made[::-1]


def test_a_batch_makes_what_can_be_made_and_names_the_rest(backend):
    backend.post("/users", {"username": "taken"})
    given = [{"username": "new"}, {"username": "taken"}, {"username": "new"}, {"fullName": "Nobody"}, {"username": 7}]
    assert backend.post("/users/batch", {"users": given}) == {"message": "success", "invalidUsers": given[1:]}
    assert backend.refusal("POST", "/users/batch", {"users": given}) == (400, "No valid users provided")
    assert backend.refusal("POST", "/users/batch", {"users": [{"username": "x"}] * 1001})[0] == 400


def test_the_same_call_twice_with_one_key_happens_once(backend, user, integration, app):
    body = {"userId": user, "integrationId": integration}
    key = {"Idempotency-Key": "5f0c"}
    first = backend.call("POST", "/links", json=body, headers=key)
    again = backend.call("POST", "/links", json=body, headers=key)
    assert (again.status_code, again.json) == (first.status_code, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(backend.get("/links")["data"]) == 1
    # The stored answer holds a link: it is sealed.
    assert re.search(r"token=([^&]+)", first.json["url"])[1] not in data(app)
    status, said = backend.refusal("POST", "/links", {**body, "expiresIn": "1d"}, headers=key)
    assert status == 409
    assert "Use a new key" in said


def test_a_call_that_was_refused_can_be_mended_under_the_same_key(backend):
    key = {"Idempotency-Key": "mend"}
    assert backend.refusal("POST", "/users", {"user": "x"}, headers=key)[0] == 400
    assert backend.post("/users", {"username": "x"}, headers=key)["userId"]


def test_a_call_that_is_under_way_is_not_done_a_second_time(backend, app):
    backend.post("/users", {"username": "x"}, headers={"Idempotency-Key": "k"})
    with app.app_context(), transaction() as session:
        session.execute(sa.update(IdempotentCall).values(status=None, sealed=None))
    answer_ = backend.call("POST", "/users", json={"username": "x"}, headers={"Idempotency-Key": "k"})
    assert (answer_.status_code, answer_.headers["Retry-After"]) == (409, "1")
    # One that died on its way doesn't block its key for ever.
    with app.app_context(), transaction() as session:
        session.execute(sa.update(IdempotentCall).values(created_at=now() - timedelta(minutes=2)))
    assert backend.refusal("POST", "/users", {"username": "x"}, headers={"Idempotency-Key": "k"})[0] == 409
    assert backend.post("/users", {"username": "y"}, headers={"Idempotency-Key": "k"})["userId"]


def test_answers_are_forgotten_after_a_day(backend, app):
    key = {"Idempotency-Key": "day"}
    backend.post("/users", {"username": "x"}, headers=key)
    with app.app_context(), transaction() as session:
        session.execute(sa.update(IdempotentCall).values(created_at=now() - timedelta(hours=25)))
    assert backend.refusal("POST", "/users", {"username": "x"}, headers=key)[0] == 409  # done anew: the name is taken


@pytest.mark.parametrize("key", ["", "x" * 256, "ü"])
def test_a_key_that_can_not_be_is_refused(backend, key):
    assert backend.refusal("POST", "/users", {"username": "x"}, headers={"Idempotency-Key": key})[0] == 400


def test_what_is_left_is_told_and_too_much_is_refused(backend, app):
    app.extensions["limiter"] = Limiter("3 per hour")
    told = [backend.call("GET", "/users").headers["RateLimit-Remaining"] for _ in range(3)]
    assert told == ["2", "1", "0"]
    refused = backend.call("GET", "/users")
    assert refused.status_code == 429
    assert refused.headers["RateLimit-Limit"] == "3"
    assert int(refused.headers["Retry-After"]) == int(refused.headers["RateLimit-Reset"]) <= 3600
    assert "Wait" in refused.json["message"]
    # Who has no key is counted by address, and takes nothing from those who have one.
    assert [app.test_client().get("/users").status_code for _ in range(4)] == [401, 401, 401, 429]


def test_every_answer_has_a_request_id_and_a_good_one_is_kept(backend):
    assert re.fullmatch("[0-9a-f]{16}", backend.call("GET", "/users").headers["X-Request-Id"])
    kept = backend.call("GET", "/users", headers={"X-Request-Id": "order-7.a"})
    assert kept.headers["X-Request-Id"] == "order-7.a"
    for evil in ("a b", "x" * 65, "<script>"):
        assert backend.call("GET", "/users", headers={"X-Request-Id": evil}).headers["X-Request-Id"] != evil
    assert backend.app.test_client().get("/healthz").headers["X-Request-Id"]


def test_the_request_id_is_in_the_log(backend, monkeypatch):
    lines = io.StringIO()
    processors = [structlog.contextvars.merge_contextvars, structlog.processors.JSONRenderer()]
    monkeypatch.setattr(hooks, "log", structlog.wrap_logger(structlog.PrintLogger(lines), processors))
    backend.call("GET", "/users", headers={"X-Request-Id": "find-me"})
    line = json.loads(lines.getvalue())
    assert (line["request_id"], line["route"], line["status"]) == ("find-me", "/users", 200)
    assert backend.key not in lines.getvalue()


def test_what_can_not_be_read_is_explained(backend):
    for more in ({"data": "{", "content_type": "application/json"}, {"data": b"\xff"}, {"json": [1]}):
        status, said = backend.refusal("POST", "/users", **more)
        assert status == 400
        assert "Please mend" in said or "can’t be read" in said
    status, said = backend.refusal("POST", "/users", {"username": "\ud800"})
    assert status == 400
    for deep in (900, 100_000):
        body = '{"users": [' + "[" * deep + "]" * deep + "]}"
        status, said = backend.refusal("POST", "/users/batch", data=body, content_type="application/json")
        assert (status, "can’t be read" in said) == (400, True)
    half = {"users": [{"username": "a\ud800"}, {"username": "b", "fullName": "\udfff"}]}
    assert backend.refusal("POST", "/users/batch", half)[0] == 400
    assert backend.refusal("POST", "/run/event", {"event": "x", "userId": "a\0"})[0] == 400
    assert backend.refusal("GET", "/users/a%00")[0] == 404
    assert backend.refusal("POST", "/users", data=b"x" * 600_000)[0] == 413
    assert backend.refusal("PATCH", "/users")[0] == 405
