"""Which links open what, and that nothing but finishing spends one."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.clock import now
from portal.db import transaction
from portal.installations.models import Installation
from portal.keys.ring import KeyRing
from portal.links.models import Link
from portal.links.rules import revoke_link
from portal.links.token import Claims, write_token
from tests.install_page import InstallPage, View, assert_headers_are_strict
from tests.stage import Made

UNKNOWN = "This link doesn’t work"


def change(app, link: Made, **values) -> None:
    with app.app_context(), transaction() as session:
        row = session.get_one(Link, link.id)
        for name, value in values.items():
            setattr(row, name, value)


def get(app, query) -> View:
    return View(app.test_client().get("/embedded-install", query_string=query))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda q: {**q, "token": q["token"][:-1]},
        lambda q: {**q, "token": q["token"] * 2},
        lambda q: {**q, "token": q["token"] + "."},
        lambda q: {**q, "token": q["token"].split(".", 1)[1]},
        lambda q: {**q, "token": "x" * 1_000_000},
        lambda q: {**q, "token": q["token"] + "\0"},
        lambda q: {**q, "token": "\0"},
        lambda q: {**q, "token": ""},
        lambda q: {"integrationId": q["integrationId"]},
        lambda q: {**q, "token": q["token"].encode().hex()},
        lambda q: {**q, "token": q["token"].replace(".", "%2e")},
        lambda q: {**q, "token": "é" + q["token"]},
        lambda q: {**q, "integrationId": "0" * 24},
        lambda q: {**q, "integrationId": ""},
        lambda q: {"token": q["token"]},
        lambda q: {**q, "token": write_token(["another portal's key"], Claims("0" * 24, q["integrationId"], True))},
    ],
)
def test_a_token_that_is_not_ours_gets_one_page_without_a_hint(app, link, spoil):
    view = get(app, spoil(link.query))
    assert view.status == 404
    assert view.heading == UNKNOWN
    assert view.text == get(app, {"token": "nonsense"}).text
    posted = app.test_client().post("/embedded-install", data={**spoil(link.query), "action": "finish"})
    assert posted.status_code in (404, 413)


def test_no_byte_of_a_token_can_be_changed(app, link):
    token = link.query["token"]
    client = app.test_client()
    for position in range(len(token)):
        for other in "Az0-_.":
            if token[position] != other:
                spoiled = token[:position] + other + token[position + 1 :]
                answer = client.get("/embedded-install", query_string={**link.query, "token": spoiled})
                assert answer.status_code == 404, (position, other)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(token=st.one_of(st.text(max_size=300), st.binary(max_size=300).map(lambda b: b.decode("latin-1"))))
def test_no_text_whatever_opens_anything_or_breaks_the_page(app, link, token):
    assert get(app, {**link.query, "token": token}).status == 404


def test_a_signed_token_without_a_row_opens_nothing(app, link):
    token = write_token(app.extensions["keys"].link_keys, Claims("0" * 24, link.query["integrationId"], True))
    assert get(app, {**link.query, "token": token}).status == 404


def test_a_used_a_revoked_and_an_expired_link_say_so_each_in_its_own_words(app, make_link):
    used, revoked, expired = make_link(), make_link(), make_link()
    change(app, used, finished_at=now(), finished_by="x")
    change(app, expired, expires_at=now() - timedelta(seconds=1))
    with app.app_context(), transaction() as session:
        revoke_link(session, session.get_one(Link, revoked.id), now())

    views = [get(app, made.query) for made in (used, revoked, expired)]
    assert [view.status for view in views] == [410, 410, 410]
    assert [view.heading for view in views] == [
        "This link was already used",
        "This link was withdrawn",
        "This link has expired",
    ]
    assert "was installed with it on" in views[0].text
    assert all("Ask" in view.text or "ask" in view.text for view in views)
    for made in (used, revoked, expired):
        posted = app.test_client().post("/embedded-install", data={**made.query, "action": "finish", "press": "y"})
        assert posted.status_code == 410
        assert_headers_are_strict(posted)


def test_an_ended_link_says_since_when_and_as_whom_its_own_user_has_it_installed(app, make_link, shop, row):
    used, expired, revoked = make_link(), make_link(), make_link()
    page = InstallPage(app, used)
    page.open()
    assert page.fill(magento__store_url=shop.url, magento__access_token=shop.token).finish().status == 200
    strangers = make_link(username="eve@shop.example")
    for made in (expired, strangers):
        change(app, made, expires_at=now() - timedelta(seconds=1))
    change(app, revoked, revoked_at=now())
    since = row(used).finished_at
    for made in (used, expired):
        view = get(app, made.query)
        assert f"It has been installed since {since.day} {since:%B %Y}, {since:%H:%M} UTC." in view.text
        assert "Magento: connected as Luma Store." in view.text
        assert shop.token not in view.html
        posted = app.test_client().post("/embedded-install", data={**made.query, "action": "finish"})
        assert "connected as" in posted.text
    for made in (strangers, revoked):  # what was taken back may be in the wrong hands
        assert "Luma Store" not in get(app, made.query).text
        assert "installed since" not in get(app, made.query).text
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Installation).values(removed_at=now()))
    assert "installed since" not in get(app, used.query).text


def test_opening_never_spends_a_link_and_only_a_person_counts_as_having_opened_it(app, link, row):
    client = app.test_client()
    for _ in range(10):
        assert client.get("/embedded-install", query_string=link.query).status_code == 200
        assert client.head("/embedded-install", query_string=link.query).status_code == 200
        prefetch = {"Sec-Purpose": "prefetch"}
        assert client.get("/embedded-install", query_string=link.query, headers=prefetch).status_code == 200
    assert (row(link).opened_at, row(link).finished_at) == (None, None)

    client.post("/embedded-install", data={**link.query, "action": "seen"})
    assert row(link).opened_at is not None
    assert row(link).finished_at is None


def test_the_query_can_tighten_what_the_link_says_but_never_loosen_it(app, make_link, page_of, shop):
    first = page_of(make_link())
    first.open()
    first.fill(magento__store_url=shop.url, magento__access_token=shop.token).finish()

    tight = page_of(make_link(always_show_credentials=True))
    assert "magento-access_token" in tight.open(alwaysShowCredentials="false").inputs
    loose = page_of(make_link(always_show_credentials=False))
    assert "magento-access_token" not in loose.open(alwaysShowCredentials="false").inputs
    assert "magento-access_token" in loose.open(alwaysShowCredentials="true").inputs


def test_the_prepared_first_view_is_the_page_that_would_be_rendered(app, link, monkeypatch):
    client = app.test_client()

    def read() -> str:
        html = client.get("/embedded-install", query_string=link.query).text
        for name, value in View(client.get("/embedded-install", query_string=link.query)).inputs.items():
            if name == "press":
                assert len(value["value"]) == 16
        return re.sub(r'nonce="[^"]*"|name="press" value="[^"]*"', "", html)

    prepared = read()
    monkeypatch.setattr("portal.install.first_view.find_untouched", lambda *_: None)
    assert prepared == read()


def test_names_are_escaped_in_the_prepared_first_view(app, make_link):
    made = make_link(username="<script>alert(1)</script>")
    html = app.test_client().get("/embedded-install", query_string={**made.query, "alwaysShowCredentials": '">x'}).text
    assert "<script>alert" not in html
    assert '">x' not in html.replace("&#34;&gt;x", "")


def test_the_answer_is_compressed_for_who_takes_it(app, link):
    import brotli

    client = app.test_client()
    packed = client.get("/embedded-install", query_string=link.query, headers={"Accept-Encoding": "gzip, br"})
    assert packed.headers["Content-Encoding"] == "br"
    assert b"Connect Magento" in brotli.decompress(packed.data)


def test_too_much_at_once_is_refused_with_a_sentence(app, link):
    answer = app.test_client().post("/embedded-install", data={**link.query, "x": "y" * 600_000})
    assert answer.status_code == 413
    assert "larger than this page can take" in answer.text


def test_a_link_signed_with_a_key_that_another_process_just_made_works_at_once(app, link, make_link, monkeypatch):
    assert get(app, link.query).status == 200
    other_process = KeyRing(app.config["PORTAL_SETTINGS"])
    other_process.add_keys()
    with monkeypatch.context() as elsewhere:
        elsewhere.setitem(app.extensions, "keys", other_process)
        fresh = make_link()
    assert get(app, fresh.query).status == 200
    assert get(app, link.query).status == 200


def test_who_has_an_ended_link_can_ask_for_a_new_one_once_a_day(page_of, make_link, app, row):
    for username, column in (("a", "finished_at"), ("b", "revoked_at"), ("c", "expires_at")):
        made = make_link(username=username)
        change(app, made, **{column: now()})
        page = page_of(made)
        assert "Ask for a new link" in page.open().text
        assert row(made).requested_at is None
        assert page.submit("request").heading == "Acme Analytics was told"
        first = row(made).requested_at
        assert page.submit("request").status == 200
        assert row(made).requested_at == first
    fresh = page_of(make_link(username="d"))
    assert "Ask for a new link" not in fresh.open().text
    assert fresh.submit("request").heading == "Connect Magento"
    assert row(fresh.link).requested_at is None
