"""The audit log on the dashboard: filters, and the file that is taken along."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest

from portal.audit import export
from portal.audit.rules import write_down
from portal.clock import now
from portal.db import transaction
from portal.environments import Environment
from portal.operators.models import Role
from tests.long_work import do_long_work

NASTY = "=cmd|'/C calc'!A0"


@pytest.fixture
def entries(app):
    """Some deeds of the last days."""
    with app.app_context(), transaction() as session:
        for day, actor, action, subject in (
            (1, "ada@vendor.example", "link.create", "Orders for ada"),
            (2, "ada@vendor.example", "link.revoke", "Orders for bob"),
            (3, "billing server (portal_live_x)", "link.create", NASTY),
        ):
            at = datetime(2026, 3, day, 12, tzinfo=UTC)
            write_down(session, action, subject, actor=actor, environment=Environment.production, now=at, link="-1+2")


def start(desk, kind, **wanted):
    """Press the button; the address of the work's page."""
    answer = desk.client.post("/dashboard/audit/export", data={"csrf": desk.csrf, "format": kind, **wanted})
    assert answer.status_code == 303
    return answer.headers["Location"]


def exported(desk, app, kind, **wanted):
    """The file, once it is written."""
    task = start(desk, kind, **wanted)
    do_long_work(app)
    assert "Download audit-log-2" in desk.get(task).text
    return desk.client.get(f"{task}/file")


def listed(view):
    return [text for text in ("Orders for ada", "Orders for bob", NASTY) if text in view.text]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["Orders for ada", "Orders for bob", NASTY]),
        ("actor=ada@vendor.example", ["Orders for ada", "Orders for bob"]),
        ("actor=billing server (portal_live_x)", [NASTY]),
        ("action=link.create", ["Orders for ada", NASTY]),
        ("since=2026-03-02", ["Orders for bob", NASTY]),
        ("until=2026-03-02", ["Orders for ada", "Orders for bob"]),
        ("since=2026-03-02&until=2026-03-02", ["Orders for bob"]),
        ("since=2026-03-02T12:01", [NASTY]),
        ("since=2026-03-02T12:00&until=2026-03-02T12:00", ["Orders for bob"]),
        ("action=link.create&actor=ada@vendor.example", ["Orders for ada"]),
        ("actor=ada", []),
        ("actor=' OR 1=1 --", []),
    ],
)
def test_the_log_is_filtered_by_who_what_and_when(desk, app, entries, query, found):
    view = desk.get(f"/dashboard/audit?{query}")
    assert listed(view) == found
    file = exported(desk, app, "jsonl", **dict(parse_qsl(query)))
    subjects = {json.loads(line)["subject"] for line in file.text.splitlines()}
    assert subjects & {"Orders for ada", "Orders for bob", NASTY} == set(found)


def test_what_was_ever_done_can_be_chosen(desk, entries):
    page = desk.get("/dashboard/audit")
    options = [facts["value"] for tag, facts in page.dom.tags if tag == "option"]
    assert options == ["", "link.create", "link.revoke", "session.start"]


def test_nothing_found_says_so_and_leads_back(desk):
    assert "Nobody did this then. Show everything." in desk.get("/dashboard/audit?actor=nobody").text


@pytest.mark.parametrize(
    "day", ["x", "2026-13-01", "99999-01-01", "2026-03-01T25:00", "2026-03-01T00:00Z", "0000-00-00"]
)
@pytest.mark.parametrize("field", ["since", "until"])
def test_a_day_that_is_none_is_named(desk, field, day):
    refused = desk.post("/dashboard/audit/export", format="csv", **{field: day})
    assert refused.status == 400
    for view in (refused, desk.get(f"/dashboard/audit?{field}={day}", status=400)):
        assert "is no day: write one such as 2026-11-25, or 2026-11-25T14:30" in view.text
    assert "There is nothing just now" in desk.get("/dashboard/tasks").text


def test_the_last_day_there_is_can_be_asked_for(desk):
    assert desk.get("/dashboard/audit?until=9999-12-31").heading == "Audit log"


def test_no_cell_of_the_table_is_calculated_by_a_spreadsheet(desk, app, entries):
    answer = exported(desk, app, "csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="audit-log-2')
    head, *rows = csv.reader(io.StringIO(answer.data.decode("utf-8-sig")))
    assert head == ["at", "actor", "action", "subject", "environment", "details", "id"]
    assert [row[3] for row in rows][:3] == ["Orders for ada", "Orders for bob", f"'{NASTY}"]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row)
    assert json.loads(rows[0][5]) == {"link": "-1+2"}


def test_the_lines_for_programs_hold_what_was_written(desk, app, entries):
    answer = exported(desk, app, "jsonl")
    assert answer.headers["Content-Type"] == "application/jsonl; charset=utf-8"
    first = json.loads(answer.text.splitlines()[0])
    assert first.pop("id")
    assert first == {
        "at": "2026-03-01T12:00:00.000+00:00",
        "actor": "ada@vendor.example",
        "action": "link.create",
        "subject": "Orders for ada",
        "environment": "production",
        "details": {"link": "-1+2"},
    }


def test_a_long_log_is_written_in_parts_shows_how_far_it_is_and_nothing_is_left_out(desk, app, monkeypatch):
    monkeypatch.setattr(export, "BATCH", 10)
    at = now() - timedelta(days=1)
    with app.app_context(), transaction() as session:
        for number in range(95):  # most at the same moment: the place is told by the id as well
            moment = at + timedelta(seconds=number // 40)
            write_down(session, "link.create", f"number {number}", actor="ada", environment=None, now=moment)
    task = start(desk, "jsonl", actor="ada")
    assert "Waiting to begin" in desk.get(task).text
    do_long_work(app, batches=3)
    assert "30 of 95" in desk.get(task).text
    assert desk.client.get(f"{task}/file").status_code == 404
    with app.app_context(), transaction() as session:  # what is done meanwhile comes too late
        write_down(session, "link.create", "number 95", actor="ada", environment=None, now=now())
    do_long_work(app)
    with desk.client.get(f"{task}/file", buffered=False) as answer:
        parts = list(answer.iter_encoded())
    assert len(parts) == 10
    subjects = [json.loads(line)["subject"] for line in b"".join(parts).decode().splitlines()]
    assert sorted(subjects) == sorted(f"number {number}" for number in range(95))


def test_an_empty_table_still_has_its_head(desk, app):
    empty = exported(desk, app, "csv", actor="nobody").data
    # The mark in front is what spreadsheets know UTF-8 by.
    assert empty == b"\xef\xbb\xbfat,actor,action,subject,environment,details,id\r\n"
    assert exported(desk, app, "jsonl", actor="nobody").text == ""


def test_the_page_sends_its_filters_along(desk, entries):
    view = desk.get("/dashboard/audit?action=link.create&since=2026-03-01")
    sent = {facts["name"]: facts["value"] for tag, facts in view.dom.tags if facts.get("type") == "hidden"}
    assert (sent["action"], sent["since"]) == ("link.create", "2026-03-01")


def test_the_file_is_for_who_asked_as_long_as_they_are_an_administrator(desk, app, entries, sign_in):
    task = start(desk, "csv")
    do_long_work(app)
    other = sign_in(email="other@vendor.example")
    for path in (task, f"{task}/file"):
        assert other.client.get(path).status_code == 404
    lower = sign_in(Role.member, email=desk.email)
    for path in (task, f"{task}/file"):
        refused = lower.client.get(path)
        assert (refused.status_code, NASTY in refused.text) == (403, False)


@pytest.mark.parametrize("kind", ["", "xlsx", "../csv"])
def test_another_kind_of_file_is_refused_in_words(desk, kind):
    view = desk.post("/dashboard/audit/export", format=kind)
    assert (view.status, "as CSV or as JSON lines" in view.text) == (400, True)


def test_taking_the_log_along_is_written_down_as_well(desk, entries):
    start(desk, "csv", actor="ada@vendor.example", since="2026-03-01")
    text = desk.get("/dashboard/audit").text
    assert "audit.export" in text
    assert "actor filter: ada@vendor.example, from filter: 2026-03-01" in text
