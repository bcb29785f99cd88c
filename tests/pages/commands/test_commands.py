"""The command line: what scripts can use on stdout, a sentence and status 1 for every refusal."""

from __future__ import annotations

import json
import re

import pytest
import sqlalchemy as sa
from click.testing import Result
from flask import Flask

from portal import create_app
from portal.audit.models import AuditEntry
from portal.credentials.models import Credential
from portal.credentials.rules import open_values
from portal.db import transaction
from portal.demo.seed import INTEGRATION
from portal.events.models import Delivery, DeliveryState
from portal.settings import read_settings
from tests.backend import change
from tests.install_page import InstallPage
from tests.stage import Made

NAME = "Magento: stream new orders"


@pytest.fixture
def flask(app: Flask):
    """Run a command."""

    def run(*arguments: str) -> Result:
        return app.test_cli_runner().invoke(args=list(arguments))

    run("integration", "apply", str(INTEGRATION))
    return run


def document(result: Result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_link_is_printed_alone_in_the_documented_form(flask):
    made = flask("link", "create", "--integration", NAME, "--user", "ada@shop.example", "--create-user")
    form = (
        r"http://portal\.example/embedded-install\?integrationId=[0-9a-f]{24}"
        r"&token=[\w-]+\.[\w-]+\.[\w-]+&forgeMode=engaged&alwaysShowCredentials=true\n"
    )
    assert re.fullmatch(form, made.stdout)
    short = document(
        flask("link", "create", "--integration", NAME, "--user", "ada@shop.example", "--expires", "90m", "--json")
    )
    assert short["url"].startswith("http://portal.example/embedded-install?")
    assert short["state"] == "created"


def test_a_user_is_found_in_whatever_capitals_and_not_made_twice(flask):
    flask("user", "create", "Ada@Shop.example")
    options = ("--integration", NAME, "--user", "ada@shop.EXAMPLE", "--create-user", "--json")
    assert document(flask("link", "create", *options))["username"] == "Ada@Shop.example"


def test_a_link_is_made_with_a_language_and_values_to_begin_with(flask, app):
    options = ("--locale", "de", "--prefill", "magento.store_url=https://shop.example?a=b", "--json")
    made = document(
        flask("link", "create", "--integration", NAME, "--user", "ada@shop.example", "--create-user", *options)
    )
    assert made["locale"] == "de"
    page = app.test_client().get(made["url"]).text
    assert "Magento verbinden" in page
    assert 'value="https://shop.example?a=b"' in page


def test_an_api_key_is_printed_once_listed_by_its_beginning_and_revoked(flask, app):
    key = flask("api-key", "create", "billing server", "--environment", "development").stdout.strip()
    assert re.fullmatch(r"portal_dev_[\w-]{43}", key)
    assert flask("api-key", "create", "shop").stdout.startswith("portal_live_")
    listed = flask("api-key", "list", "--json").stdout
    assert key not in listed
    (one,) = [one for one in json.loads(listed) if one["name"] == "billing server"]
    assert (one["environment"], one["lastUsedAt"], one["revokedAt"]) == ("development", None, None)
    assert key.startswith(one["prefix"])
    with app.app_context(), transaction() as session:
        dump = "\n".join(session.connection().connection.driver_connection.iterdump())
    assert key not in dump
    call = {"headers": {"Authorization": f"Bearer {key}"}}
    assert app.test_client().get("/users", **call).status_code == 200
    assert "is revoked" in flask("api-key", "revoke", one["prefix"]).stdout
    assert app.test_client().get("/users", **call).status_code == 401
    made = document(flask("api-key", "create", "scripts", "--json"))
    assert set(made) == {"apiKey", "apiKeyId", "name", "environment"}
    assert flask("api-key", "revoke", "nothing").exit_code == 1
    assert "visible characters" in flask("api-key", "create", " ").stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("link", "create", "--integration", NAME, "--user", "nobody"), "There is no user “nobody”"),
        (("link", "create", "--integration", "No", "--user", "a", "--create-user"), "There is no integration “No”"),
        (("link", "create", "--integration", NAME, "--user", "a", "--create-user", "--expires", "soon"), "not a life"),
        (
            ("link", "create", "--integration", NAME, "--user", "a", "--create-user", "--redirect-url", "javascript:1"),
            "no address to come back to",
        ),
        (("link", "create", "--integration", NAME, "--user", "a", "--create-user", "--locale", "?"), "is no language"),
        (
            ("link", "create", "--integration", NAME, "--user", "a", "--create-user", "--prefill", "magento.no=1"),
            "has a field of this name",
        ),
        (("link", "show", "0" * 24), "There is no link"),
        (("link", "revoke", "0" * 24), "There is no link"),
        (("installation", "show", "0" * 24), "There is no installation"),
        (("event", "redeliver", "0" * 24), "There is no event"),
        (("event", "redeliver"), "Name one event"),
        (("event", "redeliver", "0" * 24, "--failed-since", "1h"), "Name one event"),
        (("event", "redeliver", "--failed-since", "soon"), "Say since when"),
        (("keys", "switch"), "No new webhook key is announced"),
        (("integration", "apply", "/no/such/file"), "can't be read"),
        (("user", "create", " "), "1 to 255 visible characters"),
    ],
)
def test_a_refusal_is_a_sentence_on_stderr_and_status_1(flask, arguments, sentence):
    refused = flask(*arguments)
    assert refused.exit_code == 1
    assert sentence in refused.stderr
    assert refused.stdout == ""


def test_applying_twice_changes_nothing_and_a_change_makes_a_new_version(flask, tmp_path):
    again = document(flask("integration", "apply", str(INTEGRATION), "--json"))
    assert (again["outcome"], again["version"]) == ("unchanged", 1)
    changed = tmp_path / "changed.yaml"
    changed.write_text(INTEGRATION.read_text().replace("Send the order", "Send it"))
    after = document(flask("integration", "apply", str(changed), "--json"))
    assert (after["outcome"], after["version"]) == ("changed", 2)
    listed = document(flask("integration", "list", "--json"))
    assert [(one["name"], one["version"], one["workflows"][0]["version"]) for one in listed] == [(NAME, 2, 2)]


def test_a_user_can_be_made_once(flask):
    made = flask("user", "create", "eve@shop.example", "--full-name", "Eve")
    assert re.fullmatch(r"[0-9a-f]{24}\n", made.stdout)
    assert "already" in flask("user", "create", "eve@shop.example").stderr


def test_what_happened_is_listed_and_told_again(flask, app, shop, make_link):
    page = InstallPage(app, make_link())
    page.open()
    page.fill(magento__store_url=shop.url, magento__access_token="wrong").finish()
    page.fill(magento__store_url=shop.url, magento__access_token=shop.token).finish()

    link = document(flask("link", "show", page.link.id, "--json"))
    assert link["state"] == "finished"
    assert "did not accept" in link["lastFailure"]
    installation = document(flask("installation", "list", "--json"))[0]
    assert installation["accounts"] == {"magento": "Luma Store"}
    assert document(flask("installation", "show", installation["installationId"], "--json")) == installation
    event = document(flask("event", "list", "--json"))[0]
    assert (event["type"], event["state"]) == ("installation.finished", "pending")
    assert document(flask("event", "redeliver", event["eventId"], "--json"))["eventId"] == event["eventId"]
    assert [one["endpoint"] for one in event["deliveries"]] == ["Documented endpoint"]
    assert document(flask("event", "redeliver", "--failed-since", "1h", "--json")) == {"redelivered": 0}
    change(app, sa.update(Delivery).values(state=DeliveryState.given_up))
    assert "again: 1." in flask("event", "redeliver", "--failed-since", "1h").stdout
    for group in ("link", "installation", "event", "integration"):
        assert flask(group, "list").exit_code == 0
    assert "already used" not in flask("link", "revoke", page.link.id).stdout
    assert flask("link", "revoke", page.link.id).exit_code == 1


def test_a_revoked_link_says_so_and_its_drafts_are_gone(flask, app, shop, link: Made):
    page = InstallPage(app, link)
    page.open()
    page.fill(magento__store_url=shop.url, magento__access_token=shop.token).check()
    assert document(flask("link", "show", link.id, "--json"))["state"] == "verified"
    assert flask("link", "revoke", link.id).exit_code == 0
    with app.app_context(), transaction() as session:
        assert session.query(Credential).count() == 0
    assert app.test_client().get("/embedded-install", query_string=link.query).status_code == 410


def test_rotating_keys_seals_everything_anew_and_links_that_are_out_still_work(flask, app, shop, make_link):
    old = make_link()
    page = InstallPage(app, make_link())
    page.open()
    page.fill(magento__store_url=shop.url, magento__access_token=shop.token).finish()

    def sealed() -> tuple[bytes, dict[str, str]]:
        with app.app_context(), transaction() as session:
            credential = session.query(Credential).one()
            return credential.sealed, open_values(app.extensions["keys"], credential)

    before, values = sealed()
    for _ in range(2):
        assert document(flask("keys", "rotate", "--webhooks", "--json")) == {"resealed": 1, "webhooks": True}
        assert "run `flask keys switch`" in " ".join(flask("keys", "rotate", "--webhooks").stderr.lower().split())
        assert document(flask("keys", "switch", "--json")) == {"switched": True}
    after, same = sealed()
    assert before != after
    assert values == same == {"store_url": shop.url, "access_token": shop.token}
    assert app.test_client().get("/embedded-install", query_string=old.query).status_code == 200
    assert app.test_client().get("/embedded-install", query_string=make_link().query).status_code == 200


def test_the_catalogue_is_listed_checked_and_described(flask, tmp_path):
    assert "magento" in {one["app"] for one in document(flask("catalogue", "list", "--json"))}
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: bad\ntitel: x\n")
    checked = flask("catalogue", "check", str(bad))
    assert checked.exit_code == 1
    assert f"{bad}:2: “titel” is not known here. Did you mean “title”?" in checked.stdout
    assert flask("catalogue", "check", str(bad.parent), "--json").exit_code == 1
    assert document(flask("catalogue", "schema"))["type"] == "object"


def test_the_sandbox_has_a_token_and_takes_orders(flask, shop):
    assert flask("sandbox", "token").stdout.strip() == shop.token
    assert document(flask("sandbox", "order", "--json"))["entity_id"] == 1


def test_health_and_the_public_key_are_served_and_metrics_are_not_public_in_production(app, instance):
    client = app.test_client()
    assert client.get("/healthz").json == {"status": "ok"}
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json["database"], ready.json["migrations"], ready.json["engine"]) == (
        503,
        True,
        True,
        False,
    )
    assert b"portal_deliveries" in client.get("/metrics").data
    key = client.get("/security/public_key.pem")
    assert key.data == app.extensions["keys"].public_key_pem
    assert client.get("/security/public_keys.pem").data == key.data
    assert key.headers["Cache-Control"] == "public, max-age=300"

    live = create_app(
        read_settings(env="production", instance=instance, base_url="https://install.example", metrics_token="t")
    ).test_client()
    assert live.get("/metrics").status_code == 404
    assert live.get("/metrics", headers={"Authorization": "Bearer t"}).status_code == 200
    assert "max-age" in live.get("/healthz").headers["Strict-Transport-Security"]


def test_a_new_sign_in_link_changes_a_role_only_when_told_to(flask):
    assert document(flask("operator", "invite", "ada@vendor.example", "--role", "admin", "--json"))["role"] == "admin"
    assert document(flask("operator", "invite", "ada@vendor.example", "--json"))["role"] == "admin"
    assert document(flask("operator", "invite", "bob@vendor.example", "--json"))["role"] == "member"
    for words in (("invite", "ada@vendor.example", "--role", "viewer"), ("remove", "ada@vendor.example")):
        refused = flask("operator", *words)
        assert refused.exit_code == 1
        assert "is the only administrator. Make somebody else one first" in refused.stderr


def test_what_commands_change_is_in_the_audit_log(flask, app, shop):
    made = document(flask("link", "create", "--integration", NAME, "--user", "a@b.example", "--create-user", "--json"))
    flask("link", "revoke", made["linkId"])
    flask("user", "create", "c@d.example")
    key = flask("api-key", "create", "billing server").stdout.strip()
    flask("api-key", "revoke", key[:18])
    flask("operator", "invite", "ada@vendor.example")
    flask("operator", "remove", "ada@vendor.example")
    flask("integration", "apply", str(INTEGRATION))  # again: that changes nothing
    flask("keys", "rotate")
    flask("link", "list"), flask("user", "create", "c@d.example")  # these change nothing either
    with app.app_context(), transaction() as session:
        rows = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.at, AuditEntry.id)).all()
    assert {row.actor for row in rows} == {"command line"}
    assert " ".join(sorted(row.action for row in rows)) == (
        "api_key.create api_key.revoke integration.apply keys.rotate link.create link.revoke "
        "operator.invite operator.remove user.create user.create"
    )
    assert not any(key in f"{row.subject}{row.details}" or made["url"] in str(row.details) for row in rows)
