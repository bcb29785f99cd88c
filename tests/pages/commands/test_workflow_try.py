"""`flask workflow try`: a workflow of a file, once, without installing it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from click.testing import Result

from portal.clock import now
from portal.credentials.models import Credential
from tests.backend import *  # noqa: F403 - fixtures
from tests.backend import change, data
from tests.runtime import Ingest, answers

FILE = """
name: Orders to ledger
apps: [magento]
workflows:
  - name: Send lines
    description: Send each line.
    trigger: {poll: order_created}
    fields: [{name: ledger, title: Ledger, required: true}]
    steps:
      - {name: Large ones, filter: "${ trigger.total > `10` }"}
      - {name: Pick, map: {ledger: "${ fields.ledger }", mail: "${ trigger.customer_email }"}}
      - {name: Stores, app: magento, request: {get: /V1/store/storeConfigs}}
      - {name: Rest, delay: 5m}
      - name: Each line
        for_each: {in: "${ trigger.items }", steps: [{name: Send it, request: {post: "INGEST", body: "${ item }"}}]}
"""
ITEM = {"total": 39, "customer_email": "veronica@example.com", "items": [{"sku": "A"}, {"sku": "B"}]}


@pytest.fixture
def ingest():
    server = Ingest()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def attempt(app, tmp_path, ingest) -> Callable[..., Result]:
    """Try the file with an item."""

    def run(*options: str, text: str = FILE, item: str = json.dumps(ITEM), user: str = "ada@shop.example") -> Result:
        (tmp_path / "flow.yaml").write_text(text.replace("INGEST", ingest.url))
        (tmp_path / "item.json").write_text(item)
        arguments = ["workflow", "try", str(tmp_path / "flow.yaml"), "--user", user]
        return app.test_cli_runner().invoke(args=[*arguments, "--item", str(tmp_path / "item.json"), *options])

    return run


@pytest.fixture
def connected(user, shop_credential):
    shop_credential()


def test_each_step_is_printed_and_requests_leave_like_those_of_a_run(attempt, connected, ingest, shop):
    tried = attempt("--field", "ledger=main")
    assert tried.exit_code == 0, tried.output
    for said in (
        "1. Large ones (filter)",
        "→ goes on",
        '"ledger": "main"',
        f"GET {shop.url}/rest/V1/store/storeConfigs",
        "Authorization: •••",
        "a run would wait here for 0:05:00; this try goes on",
        "repeats its steps for 2 items",
        "6. Send it (request, turn 1)",
        "7. Send it (request, turn 2)",
        "→ 200 {}",
        "It succeeded.",
    ):
        assert said in tried.stdout, tried.stdout
    assert [one.json for one in ingest.asked] == [{"sku": "A"}, {"sku": "B"}]
    assert {"x-alloy-signature", "x-alloy-userid", "idempotency-key"} <= set(ingest.asked[0].headers)
    assert shop.token not in tried.output
    assert "veronica@example.com" not in tried.output


def test_a_dry_run_lets_nothing_leave_and_goes_on_with_empty_answers(attempt, connected, ingest, provider):
    tried = attempt("--dry-run", "--field", "ledger=main")
    assert tried.exit_code == 0, tried.output
    assert f"POST {ingest.url}" in tried.stdout
    assert "not sent; the try goes on with an empty answer" in tried.stdout
    assert ingest.asked == []
    assert provider.calls == []


def test_a_try_only_reads_the_database(attempt, connected, app):
    before = data(app)
    assert attempt("--field", "ledger=main").exit_code == 0
    assert data(app) == before


def test_scripts_get_one_document(attempt, connected):
    document = json.loads(attempt("--field", "ledger=main", "--json").stdout)
    assert (document["workflow"], document["dryRun"], document["outcome"]) == ("Send lines", False, "succeeded")
    assert [step["path"] for step in document["steps"]] == ["0", "1", "2", "3", "4", "4.0.0", "4.1.0"]
    assert document["steps"][1]["output"] == {"ledger": "main", "mail": "•••"}
    assert document["steps"][3]["wait"] == 300


def test_a_filter_ends_it_and_a_failure_ends_with_status_1(attempt, connected, ingest):
    filtered = attempt("--field", "ledger=main", item='{"total": 1}')
    assert filtered.exit_code == 0
    assert "A filter ended it" in filtered.stdout
    ingest.behave = answers(400)
    failed = attempt("--field", "ledger=main")
    assert failed.exit_code == 1
    assert "127.0.0.1 answered 400." in failed.stdout
    assert "It failed" in failed.stdout
    ingest.behave = answers(429, Retry_After="30")
    later = attempt("--field", "ledger=main", "--json")
    assert later.exit_code == 1
    assert (json.loads(later.stdout)["outcome"], json.loads(later.stdout)["steps"][-1]["wait"]) == ("retrying", 30)


def test_what_an_app_answers_can_not_steer_the_terminal(attempt, connected, ingest):
    ingest.behave = answers(200, '"\x9b31mred"'.encode())
    assert "\x9b" not in attempt("--field", "ledger=main").stdout


def test_a_user_without_a_working_credential_is_told_how_to_get_one(attempt, user, shop_credential, app):
    alone = attempt("--field", "ledger=main")
    assert alone.exit_code == 1
    assert "ada@shop.example has no working credential for Magento." in alone.stderr
    assert 'flask link create --integration "Orders to ledger" --user ada@shop.example' in alone.stderr
    shop_credential()
    change(app, sa.update(Credential).values(broken_at=now()))
    assert "has no working credential" in attempt("--field", "ledger=main").stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"text": FILE.replace("filter:", "fliter:")}, "flow.yaml: line 10: "),
        ({"text": FILE.replace("trigger.total >", "triger.total >")}, "did you mean “trigger”?"),
        ({"item": '{\n"total": 39,\n}'}, "item.json: line 3: this is not JSON"),
        ({"item": "[" * 120 + "]" * 120}, "at most 100 levels"),
        ({"item": "[" * 100_000 + "]" * 100_000}, "at most 100 levels"),
        ({"item": json.dumps("x" * 260_000)}, "at most 256 kB"),
        ({"user": "nobody"}, "There is no user “nobody”"),
        ({"options": ["--workflow", "Other"]}, "has no workflow “Other”: it has Send lines."),
        ({"options": []}, "ledger: Fill in Ledger. Give values with `--field NAME=VALUE`."),
        ({"options": ["--field", "ledger"]}, "write --field ledger=VALUE"),
        ({"options": ["--field", "ledger=a", "--field", "x=1"]}, "x: There is no such field."),
        (
            {"text": FILE + "  - {name: Two, description: D, trigger: {manual: true}}\n"},
            "name one with `--workflow`: Send lines, Two.",
        ),
    ],
)
def test_what_can_not_be_tried_is_refused_with_its_place_and_the_mend(attempt, connected, more, said):
    options = more.pop("options", ["--field", "ledger=main"])
    refused = attempt(*options, **more)
    assert refused.exit_code == 1
    assert said in refused.stderr
    assert refused.stdout == ""
