"""Apps are data: what people type is understood, what is declared is checked, and no value leaves its place."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from portal.catalogue import (
    CatalogueDefects,
    Field,
    FieldProblem,
    HostNotAllowed,
    Reason,
    Rejected,
    build_request,
    check,
    clean,
    load_catalogue,
    read_account,
)
from portal.catalogue.loading import APPS, json_schema
from portal.catalogue.sentences import SENTENCES
from portal.http import Answer, Problem

CATALOGUE = load_catalogue()
URL = CATALOGUE["magento"].field("store_url")
SECRET = CATALOGUE["magento"].field("access_token")
LABEL = CATALOGUE["shopify"].field("shop")
UUID = "12345678-1234-5678-1234-567812345678"


def field(kind: str, **more) -> Field:
    return Field(name="f", title="Thing", type=kind, **more)


@pytest.mark.parametrize(
    ("declared", "typed", "value", "note"),
    [
        (URL, " https://Shop.Example/ ", "https://shop.example", "We read this as shop.example."),
        (URL, "shop.example", "https://shop.example", None),
        (URL, "https://shop.example/admin_1x/sales?key=1#x", "https://shop.example", "We read this as shop.example."),
        (URL, "https://a.example/shop/index.php/admin", "https://a.example/shop", "We read this as a.example/shop."),
        (URL, "https://bücher.example", "https://xn--bcher-kva.example", None),
        (URL, "HTTPS://BÜCHER.example/", "https://xn--bcher-kva.example", "We read this as bücher.example."),
        (URL, "https://user:pw@shop.example:443", "https://shop.example", "We read this as shop.example."),
        (URL, "«https://shop.example»", "https://shop.example", "We read this as shop.example."),
        (URL, "https://shop.example.", "https://shop.example", "We read this as shop.example."),
        (URL, "127.0.0.1:8001", "https://127.0.0.1:8001", None),
        (URL, "http://127.0.0.1:8001", "http://127.0.0.1:8001", None),
        (SECRET, "\r\n abc\u200b\u00a0\n", "abc", None),
        (SECRET, "Bearer abc", "abc", "We left out the word Bearer."),
        (SECRET, "“abc”", "abc", "We left out the quotation marks."),
        (SECRET, 'Authorization: Bearer "a b"', "a b", "We left out the word Bearer and the quotation marks."),
        (SECRET, "X-Api-Key: abc", "abc", "We left out the header’s name."),
        (LABEL, "luma-store", "luma-store", None),
        (LABEL, "https://Luma.myshopify.com/admin", "luma", "We read this as luma.myshopify.com."),
        (field("host"), "https://Shop.Example/admin", "shop.example", "We read this as shop.example."),
        (field("email"), "<mailto:a@b.example>", "a@b.example", "We read this as a@b.example."),
        (
            field("uuid"),
            "{12345678123456781234567812345678}",
            "12345678-1234-5678-1234-567812345678",
            "We read this as 12345678-1234-5678-1234-567812345678.",
        ),
        (field("number"), "1 000", "1000", "We read this as 1000."),
        (field("select", options={"eu": "Europe"}), "eu", "eu", None),
        (field("text", required=False), "  ", "", None),
    ],
)
def test_what_people_really_type_is_understood(declared, typed, value, note):
    cleaned = clean(declared, typed)
    assert cleaned.value == value
    assert cleaned.note == note


@pytest.mark.parametrize(
    ("declared", "typed", "sentence"),
    [
        (URL, "", "Type the address."),
        (URL, "shop", "doesn’t look like an address"),
        (URL, "javascript://x", "not with javascript://"),
        (URL, "https://sh op.example", "doesn’t look like an address"),
        (URL, "https://[::1", "doesn’t look like an address"),
        (URL, "https://shop.example:99999", "doesn’t look like an address"),
        (SECRET, " \u200b ", "Paste the access token."),
        (SECRET, "clé", "a character in this that keys don’t have"),
        (SECRET, "x" * 5000, "longer than the 4096 characters"),
        (LABEL, "https://evil.example", "doesn’t end in .myshopify.com"),
        (LABEL, "a_b", "letters, digits and hyphens only"),
        (field("email"), "nobody", "doesn’t look like an e-mail address"),
        (field("uuid"), "123", "32 letters and digits"),
        (field("number"), "ten", "Type a number"),
        (field("select", options={"eu": "Europe"}), "us", "Choose one of the options."),
        (field("pem"), "-----BEGIN KEY-----", "Paste it as a whole"),
        (field("text", pattern="[a-z]+", pattern_message="Small letters only."), "A", "Small letters only."),
    ],
)
def test_what_can_not_be_used_gets_its_sentence(declared, typed, sentence):
    with pytest.raises(FieldProblem, match=re.escape(sentence)):
        clean(declared, typed)


EVERY_KIND = [URL, SECRET, LABEL, field("host"), field("text"), field("email"), field("uuid"), field("pem")]


@given(st.sampled_from(EVERY_KIND), st.text(max_size=80))
def test_cleaning_never_breaks_and_is_done_once(declared, typed):
    try:
        once = clean(declared, typed)
    except FieldProblem:
        return
    assert clean(declared, once.value).value == once.value


@given(st.text(max_size=60))
def test_a_note_about_a_secret_never_shows_it(typed):
    said = ""
    try:
        said = clean(SECRET, f"Bearer {typed}Zx9").note or ""
    except FieldProblem as problem:
        said = str(problem)
    assert "Zx9" not in said


VALUES = st.text(max_size=40)


@given(st.sampled_from(sorted(CATALOGUE)), st.data())
def test_no_value_changes_host_path_or_header(name, data):
    app = CATALOGUE[name]
    typed = {f.name: data.draw(VALUES, label=f.name) for f in app.fields}
    good = {
        f.name: {"url": "https://good.example", "label": "good", "host": "good.example"}.get(f.type, "good")
        for f in app.fields
    }
    usual = build_request(app, good)
    try:
        values = {f.name: clean(f, typed[f.name] or "x").value for f in app.fields}
        request = build_request(app, values)
    except (FieldProblem, HostNotAllowed, ValueError):
        return
    assert request.headers.keys() == usual.headers.keys()
    assert parse_qs(urlsplit(request.url).query).keys() <= parse_qs(urlsplit(usual.url).query).keys()
    host = urlsplit(request.url).hostname or ""
    if app.hosts != "any":
        assert any(host == rule or host.endswith(rule) for rule in app.hosts)
    address = next(f for f in app.fields if f.is_address)
    if address.type == "url":
        assert urlsplit(values[address.name]).hostname == host


@pytest.mark.parametrize("bad", ["evil.example/x", "a.b@evil", "x#", "x?y", "..", "a\nb", ""])
def test_a_label_can_not_become_another_host(bad):
    with pytest.raises(HostNotAllowed):
        build_request(CATALOGUE["shopify"], {"shop": bad, "access_token": "k"})


def test_each_style_of_authentication_stands_in_its_place():
    shopify = build_request(CATALOGUE["shopify"], {"shop": "luma", "access_token": "k"})
    assert shopify.headers["X-Shopify-Access-Token"] == "k"
    pipedrive = build_request(CATALOGUE["pipedrive"], {"company": "luma", "api_token": "k&x=1"})
    assert parse_qs(urlsplit(pipedrive.url).query) == {"api_token": ["k&x=1"]}
    values = {"store_url": "https://w.example", "consumer_key": "ck", "consumer_secret": "cs"}
    assert build_request(CATALOGUE["woocommerce"], values).headers["Authorization"] == "Basic Y2s6Y3M="
    magento = build_request(CATALOGUE["magento"], {"store_url": "https://m.example/s", "access_token": "k"})
    assert magento.url == "https://m.example/s/rest/V1/store/storeConfigs"
    assert magento.headers["Authorization"] == "Bearer k"


def reply(status: int, body: object) -> Answer:
    return Answer(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode(), False, 0.1)


def test_the_account_is_read_by_the_providers_name_or_else_by_what_was_typed():
    magento, values = CATALOGUE["magento"], {"store_url": "https://m.example", "access_token": "k"}
    asked = "https://m.example/rest"
    assert read_account(magento, reply(200, [{"store_name": " Luma\nStore "}]), asked, values).name == "Luma Store"
    assert read_account(magento, reply(200, [{"code": "x"}]), asked, values).name == "m.example"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply(401, {}), Reason.unauthorized),
        (reply(418, {}), Reason.unexpected),
        (reply(200, b"\xff"), Reason.not_json),
        (reply(200, None), Reason.unexpected),
        (reply(200, {"a": 1}), Reason.unexpected),
    ],
)
def test_an_answer_that_is_no_success_is_rejected_for_its_reason(answer, reason):
    with pytest.raises(Rejected) as rejection:
        read_account(CATALOGUE["magento"], answer, "https://m.example/rest", {})
    assert rejection.value.reason is reason


def test_there_is_a_sentence_for_everything_that_can_go_wrong():
    assert set(SENTENCES) == {*Reason, *Problem}


def test_the_portals_own_apps_have_no_defects_and_cover_the_styles():
    assert check(APPS) == []
    assert {"magento", "sandbox"} <= set(CATALOGUE)
    assert len(CATALOGUE) >= 5


GOOD = {
    "name": "thing",
    "title": "Thing",
    "purpose": "Read things.",
    "docs": "https://thing.example/docs",
    "fields": {"key": {"title": "Key", "type": "secret"}},
    "base_url": "https://api.thing.example",
    "hosts": ["api.thing.example"],
    "auth": {"bearer": "{key}"},
    "test": {"get": "/me"},
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"titel": "x"}, "“titel” is not known here. Did you mean “title”?"),
        ({"title": None}, "title:"),
        ({"color": "red"}, "must be a colour such as #1f5fbf"),
        ({"docs": "http://x"}, "must be an https:// address"),
        ({"base_url": "http://api.thing.example"}, "must begin with https://"),
        ({"hosts": "any"}, "too wide here"),
        ({"hosts": ["*"]}, "neither a host nor a suffix"),
        ({"auth": {}}, "no credential is placed"),
        ({"auth": {"bearer": "{nokey}"}}, "names the field “nokey”"),
        ({"test": {"get": "/me/{key}"}}, "stands in a URL"),
        ({"test": {"get": "me"}}, "test.get:"),
        ({"test": {}}, "say either `get` or `post`"),
        ({"test": {"get": "/me", "account": "[[["}}, "is not a JMESPath expression"),
        ({"fields": {"key": {"title": "Key", "type": "secrt"}}}, "fields.key.type:"),
        ({"fields": {"key": {"title": "Key", "pattern": "("}}}, "is not a regular expression"),
        ({"fields": {"key": {"title": "Key", "type": "select"}}}, "`options` go with `type: select`"),
    ],
)
def test_a_defect_is_named_with_file_line_and_mend(tmp_path, change, said):
    file = tmp_path / "thing.yaml"
    file.write_text(yaml.safe_dump({**GOOD, **change}, sort_keys=False))
    defects = check(file)
    assert any(said in str(defect) for defect in defects), defects
    key = next(iter(change))
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if text.startswith(key))
    assert all(defect.line >= line and defect.file == file for defect in defects)


def test_broken_yaml_twins_and_a_wrong_file_name_are_defects_too(tmp_path):
    (tmp_path / "broken.yaml").write_text("name: [")
    (tmp_path / "twins.yaml").write_text(yaml.safe_dump(GOOD) + "\ntitle: Again\n")
    said = "\n".join(map(str, check(tmp_path)))
    assert "broken.yaml:2: This is not YAML" in said
    assert "“title” is there twice." in said
    assert "Call the file thing.yaml." in said
    with pytest.raises(CatalogueDefects):
        load_catalogue([tmp_path])


def test_a_webhook_that_is_registered_wants_a_key_and_a_listing_wants_its_parts(tmp_path):
    text = (APPS / "sandbox.yaml").read_text().replace("name: sandbox", "name: mine")
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    assert check(file) == []

    file.write_text(text.replace("      key: entity_id\n      register:", "      register:"))
    (defect,) = check(file)
    assert "with `register`, say `key` too" in str(defect)

    file.write_text(text.replace("{get: /V1/webhooks, url: url, id: id}", '{get: "/V1/{nothing}", id: id}'))
    assert any("“triggers.order_placed.webhook.register.list.url” is missing" in str(d) for d in check(file))
    file.write_text(text.replace("{get: /V1/webhooks, url: url", '{get: "/V1/{nothing}", url: url'))
    assert "nothing" in " ".join(str(d) for d in check(file))


def test_a_file_of_ones_own_is_added_and_the_schema_describes_it(tmp_path):
    (tmp_path / "thing.yaml").write_text(yaml.safe_dump(GOOD))
    assert load_catalogue([tmp_path])["thing"].title == "Thing"
    assert json_schema()["properties"]["fields"]["additionalProperties"]
