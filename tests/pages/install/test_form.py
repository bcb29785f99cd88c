"""What the page shows, what it understands, and what it says when something is wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest

from portal.clock import now
from portal.credentials.durable import forget_dead_drafts
from portal.credentials.models import Credential
from portal.db import transaction
from portal.links.models import Link
from tests.stage import answer, drip, hang, pour


def test_the_page_says_who_asks_for_whom_what_runs_and_until_when(install_page):
    view = install_page.open()

    assert view.status == 200
    assert view.heading == "Connect Magento"
    assert "Acme Analytics asks to connect Magento for Ada Buyer (ada@shop.example)" in view.text
    assert "Whenever an order is created in Magento, send it to the vendor." in view.text
    assert "Read your store's name and its orders." in view.text
    assert "This link works once, until" in view.text
    assert "https://help.example/" in view.html


def test_fields_carry_the_right_attributes_and_no_saved_password_is_offered(install_page):
    inputs = install_page.open().inputs

    assert inputs["magento-store_url"]["inputmode"] == "url"
    assert inputs["magento-store_url"]["autocomplete"] == "off"
    assert inputs["magento-access_token"]["type"] == "password"
    assert inputs["magento-access_token"]["autocomplete"] == "new-password"
    assert inputs["magento-access_token"]["spellcheck"] == "false"


def test_an_empty_form_gets_a_sentence_at_each_field_and_the_first_one_the_focus(install_page):
    install_page.open()
    view = install_page.finish()

    assert view.status == 422
    assert view.error_at("magento-store_url") == "Type the address."
    assert view.error_at("magento-access_token") == "Paste the access token."
    assert view.autofocused == "magento-store_url"
    assert view.dom.title.startswith("Error: ")
    assert 'role="alert"' in view.html


def test_what_people_really_paste_is_understood_and_said(install_page, shop):
    install_page.open()
    typed = shop.url.replace("http://", "HTTP://") + "/admin/dashboard/?key=1"
    view = install_page.fill(magento__store_url=f"  {typed} ", magento__access_token="wrong").check()

    assert view.note_at("magento-store_url") == f"We read this as {shop.url}."
    assert view.inputs["magento-store_url"]["value"] == shop.url

    view = install_page.fill(magento__store_url=shop.url, magento__access_token=f'"Bearer {shop.token}"\r\n').check()
    assert "Connected as Luma Store" in view.text


def test_a_wrong_token_is_explained_at_its_field_and_the_link_stays_usable(install_page, shop, row, link):
    install_page.open()
    view = install_page.fill(magento__store_url=shop.url, magento__access_token="not-the-token").finish()

    assert view.status == 422
    assert view.error_at("magento-access_token").startswith("Magento did not accept this access token.")
    assert view.autofocused == "magento-access_token"
    assert view.inputs["magento-store_url"]["value"] == shop.url
    assert view.inputs["magento-access_token"].get("value", "") == ""
    assert row(link).finished_at is None

    assert install_page.fill(magento__store_url=shop.url, magento__access_token=shop.token).finish().status == 200


@pytest.mark.parametrize(
    ("behaviour", "field", "sentence"),
    [
        (answer(401), "magento-access_token", "did not accept this access token"),
        (answer(403), "magento-access_token", "isn’t allowed to do enough"),
        (answer(404), "magento-store_url", "Is the address right?"),
        (answer(429), None, "too many requests just now"),
        (answer(500), None, "has a problem of its own"),
        (answer(503), None, "has a problem of its own"),
        (answer(200, b"<html>"), "magento-store_url", "something other than Magento"),
        (answer(200, b"{}"), "magento-store_url", "an answer that Magento wouldn’t give"),
        (answer(200, b"[" * 100_000), "magento-store_url", "something other than Magento"),
        (answer(302, Location="http://127.0.0.1/"), "magento-store_url", "sends us on to http://127.0.0.1"),
        (answer(302, Location="http://["), "magento-store_url", "sends us on"),
        (answer(302, Location="http://a<b>\u00ff.example/"), "magento-store_url", "sends us on to another address"),
        (pour, "magento-store_url", "sent far more than Magento would"),
        (lambda handler: None, "magento-store_url", "broke off"),
    ],
)
def test_what_a_provider_answers_gets_its_own_sentence(install_page, provider, row, link, behaviour, field, sentence):
    provider.behave = behaviour
    install_page.open()
    view = install_page.fill(magento__store_url=provider.url, magento__access_token="key").finish()

    assert view.status == 422
    assert sentence in (view.error_at(field) if field else view.text)
    assert row(link).finished_at is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (r"Half \ud800", "Half"),
        (r"Zero\u0000 Store", "Zero Store"),
        (r"\u202eerotS\u200b", "erotS"),
        (r"\u200b\ud83d", "127.0.0.1"),  # nothing is left of it: then by its address
        ("<b>Store</b>", "<b>Store</b>"),
    ],
)
def test_no_name_of_a_store_breaks_the_page_or_hides_in_it(install_page, provider, backend, link, name, shown):
    provider.behave = answer(200, f'[{{"base_url": "{name}"}}]'.encode())
    install_page.open()
    view = install_page.fill(magento__store_url=provider.url, magento__access_token="key").finish()

    assert view.heading == "Magento is connected"
    (credential,) = backend.get(f"/users/{link.user_id}/credentials")["data"]
    assert credential["name"].removesuffix(f":{provider.server_port}") == shown
    assert credential["name"] in view.text


@pytest.mark.parametrize("behaviour", [hang, drip])
def test_a_provider_that_takes_too_long_is_given_up(install_page, provider, behaviour, monkeypatch):
    monkeypatch.setattr("portal.credentials.rules.TEST_CEILING", 0.3)
    provider.behave = behaviour
    install_page.open()
    view = install_page.fill(magento__store_url=provider.url, magento__access_token="key").finish()

    assert "took too long to answer" in view.error_at("magento-store_url")


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("https://no-such-host.invalid", "There is no server called no-such-host.invalid"),
        ("http://shop.example", "There is no server called shop.example"),
        ("https://127.0.0.1:1", "inside a private network"),
        ("https://localhost", "inside a private network"),
        ("https://[::1]/", "inside a private network"),
        ("https://2130706433.", "inside a private network"),
        ("http://169.254.169.254/latest", "inside a private network"),
        ("http://8.8.8.8", "begins with http://, which isn’t secure"),
        ("ftp://shop.example", "begins with https://, not with ftp://"),
        ("my shop", "doesn’t look like an address"),
    ],
)
def test_a_wrong_address_gets_its_own_sentence(install_page, address, sentence):
    install_page.open()
    view = install_page.fill(magento__store_url=address, magento__access_token="key").finish()

    assert sentence in view.error_at("magento-store_url")


def test_a_refused_connection_and_a_server_without_tls_are_told_apart(app, page_of, make_link, provider):
    port = provider.server_port
    page = page_of(make_link())
    page.open()
    view = page.fill(magento__store_url=f"https://127.0.0.1:{port}", magento__access_token="key").finish()
    assert "no valid security certificate" in view.error_at("magento-store_url")

    provider.shutdown()
    provider.server_close()
    view = page.fill(magento__store_url=f"http://127.0.0.1:{port}", magento__access_token="key").finish()
    assert "refused the connection" in view.error_at("magento-store_url")


def test_ten_failed_tries_slow_the_link_down_with_a_sentence(install_page, shop, row, link):
    install_page.open()
    for _ in range(10):
        assert install_page.fill(magento__store_url=shop.url, magento__access_token="wrong").finish().status == 422
    view = install_page.fill(magento__store_url=shop.url, magento__access_token=shop.token).finish()

    assert view.status == 429
    assert int(view.response.headers["Retry-After"]) <= 600
    assert "Please wait 10 minutes, then try again" in view.text
    assert row(link).finished_at is None


def test_failed_tries_count_over_all_links_of_their_user_and_for_nobody_else(page_of, make_link, shop):
    def is_put_off(username):
        page = page_of(make_link(username=username))
        page.open()
        return page.fill(magento__store_url=shop.url, magento__access_token="wrong").finish().status == 429

    assert [is_put_off("ada@shop.example") for _ in range(12)] == [False] * 10 + [True] * 2
    assert not is_put_off("bob@shop.example")


def test_what_passed_is_kept_when_another_section_fails_also_without_javascript(page_of, make_link, shop):
    page = page_of(make_link(two_apps=True))
    page.open()
    page.fill(magento__store_url=shop.url, magento__access_token=shop.token)
    view = page.fill(sandbox__store_url=shop.url, sandbox__access_token="wrong").finish()

    assert view.status == 422
    assert "Connected as Luma Store" in view.text
    assert "magento-access_token" not in view.inputs
    assert view.autofocused == "sandbox-access_token"

    assert "Connected as Luma Store" in page.open().text  # also after the page was closed
    view = page.fill(sandbox__store_url=shop.url, sandbox__access_token=shop.token).finish()
    assert view.heading == "Magento and Sandbox shop are connected"


def test_without_javascript_checking_one_section_keeps_what_was_typed_in_the_other(page_of, make_link, shop):
    page = page_of(make_link(two_apps=True))
    page.open()
    page.fill(magento__store_url=shop.url, magento__access_token=shop.token)
    view = page.fill(sandbox__store_url=shop.url, sandbox__access_token=shop.token).check("magento")

    assert view.text.count("Connected as Luma Store") == 2


def test_other_credentials_can_be_used_instead_of_the_checked_ones(install_page, shop):
    install_page.open()
    assert (
        "Use other credentials"
        in install_page.fill(magento__store_url=shop.url, magento__access_token=shop.token).check().text
    )
    view = install_page.submit("other:magento")

    assert "magento-access_token" in view.inputs
    assert "Connected as" not in view.text


def test_passing_the_page_on_keeps_drafts_and_is_noted(install_page, shop, row, link):
    install_page.open()
    install_page.fill(magento__store_url=shop.url, magento__access_token=shop.token).check()
    view = install_page.submit("pass-on")

    assert link.query["token"] in view.inputs[""]["value"] if "" in view.inputs else link.query["token"] in view.html
    assert "mailto:?subject=Please%20connect%20Magento" in view.html
    assert "Connected as Luma Store" in view.text
    assert row(link).passed_on_at is not None


def test_htmx_gets_only_the_changed_fragment_with_the_same_status(page_of, link, shop):
    page = page_of(link, htmx=True)
    wrong = page.fill(magento__store_url=shop.url, magento__access_token="wrong").check()
    assert (wrong.status, "<html" in wrong.html, "<h1" in wrong.html) == (422, False, False)
    right = page.fill(magento__store_url=shop.url, magento__access_token=shop.token).check()
    assert (right.status, 'id="app-magento"' in right.html) == (200, True)
    done = page.finish()
    assert (done.status, "<html" in done.html, done.heading) == (200, False, "Magento is connected")


def test_drafts_are_sealed_bound_to_their_link_and_die_with_it(app, install_page, make_link, shop, link):
    install_page.open()
    install_page.fill(magento__store_url=shop.url, magento__access_token=shop.token).check()
    with app.app_context(), transaction() as session:
        draft = session.query(Credential).one()
        assert draft.link_id == link.id
        assert shop.token.encode() not in draft.sealed

    other = make_link(username="eve@other.example")
    assert "Connected as" not in app.test_client().get("/embedded-install", query_string=other.query).text

    with app.app_context():
        with transaction() as session:
            session.get_one(Link, link.id).expires_at = now() - timedelta(seconds=1)
        forget_dead_drafts()
        with transaction() as session:
            assert session.query(Credential).count() == 0
