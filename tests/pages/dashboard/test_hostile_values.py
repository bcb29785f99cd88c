"""Whatever stands in an address or a form: a sentence comes back, never a fault of ours.

What each view reads is taken from its source, so that what is added next year is tried on its first day.
"""

from __future__ import annotations

import inspect
import re
import sys

import pytest

from tests.pages.dashboard.test_roles import NEEDS

HOSTILE = [
    "",
    "-1",
    "99999999999999999999",
    "²",  # a digit to some, and no number
    "production ",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00+23:59",
    "9999d",
    "9" * 5000,  # more digits than Python takes for a number
    "\u202e\U0001f600" + "x" * 3000,
    '{"response": {"clientDataJSON": 1}}',
    "WyJ4IiwgIngiXQ",  # a cursor that names a moment which is none
]
LAST = ("/sign-out", "/delete", "/remove", "/sign-in")  # what would end the trying
READS = re.compile(
    r"""request\.(?:args|form|values)(?:\.get|\.getlist)?[(\[]\s*"([a-z_-]+)"|chosen\(\w+, "([a-z]+)"\)"""
)
MORE = {"cursor", "order", "user", "state", "integration"}  # what the lists share
# Without these, what comes after them is never reached.
REACHES = {"who": "new", "life": "until", "email": "new@shop.example", "text": "name: x", "press": "apply"}


def names_read_by(view) -> set[str]:
    """The names of form fields and query values that the module of a view reads."""
    source = inspect.getsource(sys.modules[inspect.unwrap(view).__module__])
    return {one or other for one, other in READS.findall(source)} | MORE


@pytest.fixture
def things(desk, user, integration, install, backend, app):
    """The address of something that is there, for each kind of thing that a route names."""
    installation = install(integration)
    link = backend.get(f"/users/{user}/integrations/{integration}/install-url")["linkId"]
    event = backend.get("/events")["data"][0]["eventId"]
    child = re.search(r"/dashboard/children/([0-9a-f]{24})", desk.get(f"/dashboard/installations/{installation}").html)
    task = desk.post(f"/dashboard/users/{user}/export").response.request.path.rpartition("/")[2]
    return {
        "user": user,
        "integration": integration,
        "installation": installation,
        "link": link,
        "event": event,
        "child": child[1],
        "task": task,
        "endpoint_id": "documented-production",
        "deed": "activate",
        "name": "accent",
    }


def hostile(names):
    """Forms in which, taken together, each field holds each value; and the same where others let it be reached."""
    for turn in range(len(HOSTILE)):
        given = {name: HOSTILE[(place + turn) % len(HOSTILE)] for place, name in enumerate(sorted(names))}
        yield given
        yield given | REACHES


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_value_of_a_form_or_an_address_is_a_fault(desk, things, app, method):
    views = {(way, rule.rule): rule.endpoint for rule in app.url_map.iter_rules() for way in rule.methods}
    for rule in (rule for way, rule in NEEDS if way == method and not rule.endswith(LAST)):
        at = "/".join(things.get(part.strip("<>"), "x") if "<" in part else part for part in rule.split("/"))
        for given in hostile(names_read_by(app.view_functions[views[method, rule]]) - {"csrf"}):
            if method == "GET":
                answer = desk.client.get(at, query_string=given)
            else:
                answer = desk.client.post(at, data={"csrf": desk.csrf, **given})
            assert answer.status_code < 500, (method, rule, given, answer.text)
