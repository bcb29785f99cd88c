"""One request of a run as the other side sees it: signed, named, keyed, and at no place that data could choose."""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest

from portal.events.signing import alloy_signature_holds
from portal.integrations.declaration import IntegrationDefects, parse_declaration
from tests.runtime import SEND, answers, workflow
from tests.stage import answer


def failing(world, step, item=None, **more):
    run = world.ran(world.install(workflow("{event: go}", step, name="Tried"), **more), item)
    assert run.state == "failed"
    return run.error


def test_a_request_to_the_vendor_says_whose_it_is_and_is_signed(world):
    child = world.install(workflow("{event: go}", SEND.replace("Send it", "Sende “Bestellung” ü 1"), name="Wire"))
    world.ingest.next = [answers(500)]
    run = world.ran(child, {"name": "Café \u2028"})
    first, second = world.ingest.of(child.user)
    headers = second.headers
    assert headers["x-alloy-workflowid"] == child.workflow
    assert headers["x-alloy-userid"] == child.user
    assert headers["x-alloy-executionuuid"] == run.id
    assert headers["x-alloy-blocktype"] == "action"
    assert unquote(headers["x-alloy-blockname"]) == "Sende “Bestellung” ü 1"
    assert first.key == second.key == f"{run.id}-0"
    key = world.app.extensions["keys"].public_key_pem
    assert alloy_signature_holds(key, headers["x-alloy-signature"], url=world.ingest.url, body=second.body)
    assert not alloy_signature_holds(key, headers["x-alloy-signature"], url=world.ingest.url, body=b"{}")


def test_a_body_is_what_a_backend_in_javascript_makes_of_it_again(world):
    child = world.install(workflow("{event: go}", SEND, name="Numbers"))
    item = json.loads('{"price": 14.0, "tax": 1e999, "small": 1e-7, "10": "a", "2": "b", "name": "Ö \\u2028"}')
    assert world.ran(child, item).state == "succeeded"
    (sent,) = world.ingest.of(child.user)
    assert sent.body.decode() == '{"2":"b","10":"a","price":14,"tax":null,"small":1e-7,"name":"Ö \u2028"}'


def test_an_app_gets_the_credential_where_its_declaration_says_and_data_can_not_take_its_place(world):
    world.provider.behave = answer(200)
    step = (
        '{name: Ask, app: sandbox, request: {get: "/V1/${ trigger.a }/{access_token}", query: {q: "${ trigger.b }"}, '
        'headers: {Authorization: "${ trigger.b }", Host: evil.example, X-Own: "${ trigger.b }"}}}'
    )
    values = {"store_url": world.provider.url, "access_token": "the-token"}
    child = world.install(workflow("{event: go}", step, name="Ask"), values=values)
    assert world.ran(child, {"a": "x/y?z#{access_token}@evil.example", "b": "&admin=1"}).state == "succeeded"
    path, headers = world.provider.calls[-1]
    assert path == "/rest/V1/x%2Fy%3Fz%23%7Baccess_token%7D%40evil.example/%7Baccess_token%7D?q=%26admin%3D1"
    assert headers["Authorization"] == "Bearer the-token"
    assert headers["Host"] == world.provider.url.removeprefix("http://")
    assert headers["X-Own"] == "&admin=1"


@pytest.mark.parametrize("part", ["..", ".", "", "../../admin", "a/../../b", "..\\x", None])
def test_data_can_not_climb_out_of_a_path(world, part):
    step = '{name: Ask, app: sandbox, request: {get: "/V1/${ trigger.a }"}}'
    assert "came out empty or as dots" in failing(world, step, {"a": part})


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "caf\xe9", "\0"])
def test_data_can_not_break_a_header(world, value):
    step = '{name: Ask, request: {post: "${ ingest }", headers: {X-Own: "${ trigger }"}}}'
    assert "can't have" in failing(world, step, value)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x",
        "https://[::1]/",
        "https://169.254.169.254/latest",
        "https://localhost/",
        "https://10.0.0.1/",
    ],
)
def test_a_private_host_that_comes_out_of_data_is_refused(world, url):
    step = '{name: Ask, request: {post: "${ trigger.url }", body: 1}}'
    assert "private network" in failing(world, step, {"url": url})


def test_a_private_host_that_stands_in_the_file_is_the_operator_s_choice(world):
    step = f'{{name: Ask, request: {{post: "{world.ingest.origin}/in/${{ trigger.a }}", body: 1}}}}'
    child = world.install(workflow("{event: go}", step, name="Fixed"))
    assert world.ran(child, {"a": "x@y/z"}).state == "succeeded"
    assert world.ingest.of(child.user)[0].path == "/in/x%40y%2Fz"


def test_what_is_no_address_is_refused(world):
    for item in ({"url": "file:///etc/passwd"}, {"url": "gopher://x"}, {"url": None}, {"url": 5}):
        assert "gave no address" in failing(world, '{name: A, request: {get: "${ trigger.url }"}}', item)
    for item in ({"url": "https://[x/"}, {"url": "http://h.example:99999/"}):
        assert "its address can't be read" in failing(world, '{name: A, request: {post: "${ trigger.url }"}}', item)


@pytest.mark.parametrize("status", [301, 302, 400, 404, 409, 410, 422])
def test_what_can_not_succeed_fails_at_once(world, status):
    child = world.install(workflow("{event: go}", SEND, name="Statuses"))
    world.ingest.next = [answers(status, Location="http://127.0.0.1/evil")]
    run = world.ran(child)
    assert (run.state, run.error, run.steps[0].attempts) == ("failed", f"127.0.0.1 answered {status}.", 1)


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(world, status):
    child = world.install(workflow("{event: go}", SEND, name="Statuses"))
    world.ingest.next = [answers(status)]
    run = world.ran(child)
    assert (run.state, run.steps[0].attempts) == ("succeeded", 2)


@pytest.mark.parametrize(
    ("lines", "line", "said"),
    [
        (['{name: A, map: {x: "${ steps.b }"}}', '{name: B, map: {x: "1"}}'], 9, "has not run yet there"),
        (['{name: A, map: {x: "${ steps.a }"}}'], 9, "has not run yet there"),
        (['{name: A, map: {x: "${ steps.nothing }"}}'], 9, "that isn’t there"),
        (['{name: A, map: {x: "${ trigger. }"}}'], 9, "not a JMESPath expression"),
        (['{name: A, map: {x: "${ trigger"}}'], 9, "never closes it"),
        (['{name: A, map: {x: "${ fields.f }"}}'], 9, "isn’t declared: add it to `fields`"),
        (['{name: A, map: {x: "${ triger.id }"}}'], 9, "did you mean “trigger”?"),
        (['{name: A, map: {x: "1"}}', '{name: "a!", map: {x: "1"}}'], 10, "two steps are called “a”"),
        (["{name: A, mapp: {}}"], 9, "did you mean “map”?"),
        (["{name: A}"], 9, "say exactly one of request, map, filter, for_each, delay"),
        (["{name: A, request: {body: 1}}"], 9, "say exactly one of get, post"),
        (['{name: A, request: {get: "/V1/x"}}'], 9, "begins with https://"),
        (['{name: A, request: {get: "https://x.${ trigger.host }/"}}'], 9, "can’t be a part of the host"),
        (['{name: A, request: {get: "https://${ trigger.host }/"}}'], 9, "can’t be a part of the host"),
        (['{name: A, request: {get: "https://x.example/", headers: {"${ trigger }": x}}}'], 9, "can’t come from data"),
        (['{name: A, app: slack, request: {get: "/x"}}'], 9, "not an app of this integration"),
        (['{name: A, filter: "trigger.x"}'], 9, "a filter is one expression"),
        (["{delay: 40d}"], 9, "from a second to 30 days"),
    ],
)
def test_what_would_keep_a_workflow_from_running_is_refused_with_its_line_and_the_mend(world, lines, line, said):
    text = workflow("{event: go}", *lines)
    with pytest.raises(IntegrationDefects) as defects:
        parse_declaration(text, world.app.extensions["catalogue"], source="flow.yaml")
    (defect,) = defects.value.defects
    assert defect.line == line
    assert said in str(defect)


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ("{poll: nothing}", "has no poll called “nothing”: it has order_created"),
        ("{poll: order_created, manual: true}", "say exactly one of"),
        ("{shedule: x}", "did you mean “schedule”?"),
        ('{schedule: "99 * * * *"}', "not a cron line"),
        ('{schedule: "0 0 30 2 *"}', "there is no day that “0 0 30 2 *” names: mend its day or its month"),
        ('{schedule: "0 0 31 4,6 *", time_zone: Europe/Berlin}', "there is no day that “0 0 31 4,6 *” names"),
        ('{schedule: "* * * * *", time_zone: Mars}', "no time zone"),
        ("{poll: order_created, every: 1ms}", "every"),
    ],
)
def test_a_trigger_that_can_not_be_is_refused_with_the_mend(world, trigger, said):
    with pytest.raises(IntegrationDefects) as defects:
        parse_declaration(workflow(trigger, SEND), world.app.extensions["catalogue"], source="flow.yaml")
    assert said in defects.value.message()


def test_a_circle_in_the_file_is_refused(world):
    text = workflow("{event: go}", "&a {name: A, for_each: {in: [1], steps: [*a]}}")
    with pytest.raises(IntegrationDefects, match=r"line \d+: this refers to itself"):
        parse_declaration(text, world.app.extensions["catalogue"], source="flow.yaml")


def test_a_log_of_a_request_shows_what_was_sent_without_the_credential(world):
    world.provider.behave = answer(200, b'{"ok": true}')
    values = {"store_url": world.provider.url, "access_token": "the-token"}
    step = '{name: Ask, app: sandbox, request: {post: "/V1/x", body: {a: "${ trigger }"}}}'
    world.provider.RequestHandlerClass.do_POST = world.provider.RequestHandlerClass.do_GET
    run = world.ran(world.install(workflow("{event: go}", step, name="Log"), values=values), 1)
    told = json.loads(run.steps[0].input)
    assert (told["method"], told["url"], told["body"]) == ("POST", f"{world.provider.url}/rest/V1/x", {"a": 1})
    assert told["headers"]["Authorization"] == "•••"
