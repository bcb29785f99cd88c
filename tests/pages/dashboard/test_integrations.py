"""Integrations as operators see them, change them by the text of their file, and look at their install page."""

from __future__ import annotations

import html
import io
import re

import pytest

from portal.integrations.declaration import parse_declaration, write_declaration
from tests.backend import WITH_FIELDS
from tests.install_page import View

FORM = "/dashboard/integrations/apply"
CHANGED = (
    WITH_FIELDS.replace("Book each order.", "Book each order at night.")
    .replace("poll: order_created}", "poll: order_created, app: sandbox, every: 5m}")
    .replace("apps: [sandbox]", "apps: [sandbox, magento]")
    .replace("{name: ledger, title: Ledger, required: true}", "{name: book, title: Book}")
    .replace('  - {name: Count orders, description: Count them., trigger: {schedule: "0 * * * *"}}', "")
)


def version_in(view: View) -> str:
    return view.inputs["version"]["value"]


def preview_in(view: View) -> str:
    return html.unescape(re.findall(r'srcdoc="([^"]*)"', view.html)[0])


def test_a_pasted_file_shows_what_it_would_change_and_is_applied(desk, backend):
    shown = desk.post(FORM, text=WITH_FIELDS)
    assert shown.heading == "Add Orders to ledger"
    assert "Added: name: Orders to ledger" in shown.text
    assert backend.get("/integrations")["data"] == []
    page = desk.post(FORM, text=shown.inputs["text"]["value"], version=version_in(shown), press="apply")
    assert page.heading == "Orders to ledger"
    assert "integration.apply" in desk.get("/dashboard/audit").text
    again = desk.post(FORM, text=WITH_FIELDS)
    assert "applying it would change nothing" in again.text
    assert "Apply as version" not in again.text


def test_the_difference_is_told_in_words_and_line_by_line(desk, asking, install, backend):
    ledger = [{"name": "ledger", "value": "A"}]
    install(asking.id, "sandbox", data=[{"workflowId": asking.workflows[0].id, "fields": ledger}])
    shown = desk.post(FORM, text=CHANGED)
    assert shown.heading == "Change Orders to ledger"
    assert "App magento is added" in shown.text
    assert "“Book orders” is changed (description, trigger, fields): version 2 is made." in shown.text
    assert "It asks for Book anew. It no longer asks for Ledger." in shown.text
    assert "1 installed copy keeps its version in production until it is upgraded." in shown.text
    assert (
        "“Count orders” is dropped. New links don’t install it. 1 installed copy runs on in production." in shown.text
    )
    assert "Removed: - name: ledger" in shown.text
    assert "Added: every: 5m" in shown.text
    page = desk.post(FORM, text=CHANGED, version=version_in(shown), press="apply")
    assert "Version 2, applied" in page.text
    rows = re.findall(r'data-label="Version">(\d+).*?data-label="Installed copies">(\d+)', page.html)
    assert rows == [("2", "0"), ("1", "1")]
    back = desk.post(FORM, text=WITH_FIELDS)
    assert "“Count orders” is taken up again." in back.text


def test_applying_is_refused_when_somebody_else_was_quicker(desk, asking, apply):
    shown = desk.post(FORM, text=CHANGED)
    apply(WITH_FIELDS.replace("Count them.", "Count all of them."))
    for version in (version_in(shown), "", "x", "-1", "9" * 30):
        refused = desk.post(FORM, text=CHANGED, version=version, press="apply")
        assert refused.status == 409
        assert "Somebody applied another version" in refused.text
    assert version_in(refused) == "2"
    assert desk.post(FORM, text=CHANGED, version="2", press="apply").heading == "Orders to ledger"


def test_defects_stand_beside_their_lines_and_the_text_stays(desk):
    text = "name: A\napps: [nothing]\nworkflows:\n  - {name: w, description: d, trigger: {}}\n"
    view = desk.post(FORM, text=text)
    assert view.status == 422
    assert "Line 2: there is no app “nothing” in the catalogue" in view.text
    assert "2 › apps: [nothing]" in view.text
    assert "apps: [nothing]" in view.dom.texts["text"]
    assert desk.post(FORM, text=text, press="apply").status == 422


def test_a_file_can_be_uploaded_and_what_is_no_text_is_refused(desk):
    def upload(content: bytes) -> View:
        facts = {"csrf": desk.csrf, "text": "", "file": (io.BytesIO(content), "orders.yaml")}
        return View(desk.client.post(FORM, data=facts, content_type="multipart/form-data"))

    assert upload(b"\xef\xbb\xbf" + WITH_FIELDS.replace("\n", "\r\n").encode()).heading == "Add Orders to ledger"
    refused = upload(b"\xff\xfe\x00")
    assert refused.status == 422
    assert "It isn’t text in UTF-8" in refused.text
    assert upload(b"x" * 600_000).status == 413


def test_the_defects_of_a_file_stand_beside_its_own_lines_and_it_can_be_mended_there(desk):
    file = (io.BytesIO(b"name: A\napps: [magento\nworkflows: 3\n"), "orders.yaml")
    facts = {"csrf": desk.csrf, "text": "name: What stood there\nbefore: 2\nand: 3\n", "file": file}
    view = View(desk.client.post(FORM, data=facts, content_type="multipart/form-data"))
    assert view.status == 422
    assert "3 › workflows: 3" in view.text
    assert "apps: [magento" in view.dom.texts["text"]
    assert "What stood there" not in view.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "There is nothing in it: write the name, the apps and the workflows of an integration."),
        ("orders", "this should be names with values, each on a line of its own, such as `name: Orders`"),
        ("name: A\napps: [magento]\nworkflows: 3\n", "Line 3: workflows: this should be a list."),
    ],
)
def test_what_is_no_integration_at_all_is_refused_in_plain_words(desk, text, said):
    view = desk.post(FORM, text=text)
    assert view.status == 422
    assert said in view.text
    assert "valid" not in view.text


def _bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]" for n in range(9)]
    return "\n".join(lines)


def _merges() -> str:
    lines = ["m0: &m0 {a: 1}"]
    lines += [f"m{n + 1}: &m{n + 1} {{<<: [{', '.join([f'*m{n}'] * 9)}]}}" for n in range(9)]
    return "\n".join(lines)


HEAD = "name: A\napps: [magento]\nworkflows:\n"
TRIGGER = HEAD + "  - {{name: w, description: d, trigger: {{manual: true}}, steps: [{{map: {{x: {}}}}}]}}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_bomb(), "stands for more than 20,000 values"),
        (_merges(), "stands for more than 20,000 values"),
        ("[" * 50_000, "more than 40 levels deep"),
        ("{a: " * 50_000, "more than 40 levels deep"),
        ("- " * 50_000, "more than 40 levels deep"),
        ("x: [&a0 [x]," + "".join(f"&a{n + 1} [*a{n}]," for n in range(60)) + "]", "40 levels"),
        ("a: &a [*a]", "this refers to itself"),
        ("x" * 250_000, "longer than 200,000 characters"),
        (TRIGGER.format(".inf"), "Line 4: this is no number"),
        (TRIGGER.format("1" * 6000), "can’t be read: put it into quotes"),
        (TRIGGER.format("2024-99-99"), "can’t be read: put it into quotes"),
        (TRIGGER.format("!!binary aGk="), "Line 4: only texts, numbers"),
        (TRIGGER.format("!!python/object:os.system x"), "Line 4: only texts, numbers"),
        (TRIGGER.format('"\\0"'), "Line 4: there is a zero character"),
        (TRIGGER.format("{[a]: b}"), "Line 4: a name has to be a text"),
        (TRIGGER.format('"${ ' + "'" + r"\\'" * 40_000 + '"'), "is too long: an expression has at most"),
        (
            HEAD + f"  - {{name: w, description: d, trigger: {{schedule: '{'*/1,' * 40_000}*/1 * * * *'}}}}",
            "at most 200",
        ),
    ],
)
def test_what_is_made_to_hurt_is_refused_at_once(desk, text, said):
    view = desk.post(FORM, text=text)
    assert view.status == 422
    assert said in view.text


def test_the_file_that_is_downloaded_changes_nothing_when_it_is_applied(desk, asking, app):
    answer = desk.client.get(f"/dashboard/integrations/{asking.id}/file")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="orders-to-ledger.yaml"'
    assert answer.content_type.startswith("application/yaml")
    assert "would change nothing" in desk.post(FORM, text=answer.text).text
    again = parse_declaration(answer.text, app.extensions["catalogue"], source="x")
    assert write_declaration(again.model_dump(mode="json")) == answer.text
    assert "Orders to ledger" in desk.get(f"{FORM}?integration={asking.id}").dom.texts["text"]


def test_the_preview_is_the_page_that_a_link_opens(desk, asking, make_link, app):
    page = desk.get(f"/dashboard/integrations/{asking.id}/preview")
    assert page.html.count('sandbox="allow-same-origin"') == 2
    shown = preview_in(page)
    assert "<h1>Connect Sandbox" in shown
    for words in ("Book each order.", "Settings: Book orders", "Ledger", "customer@example.com"):
        assert words in shown
    assert "<script" not in shown
    assert 'name="token" value=""' in shown
    opened = View(app.test_client().get("/embedded-install", query_string=make_link().query))
    magento = desk.get(f"/dashboard/integrations/{_magento(desk)}/preview")
    labels = re.findall(r"<label[^>]*>[^<]+", opened.html)
    assert labels == re.findall(r"<label[^>]*>[^<]+", preview_in(magento))


def _magento(desk) -> str:
    return re.search(r'integrations/([0-9a-f]{24})">Magento', desk.get("/dashboard/integrations").html)[1]


def test_what_is_only_planned_can_be_looked_at_too_and_nothing_in_it_is_markup(desk, backend):
    evil = TRIGGER.format("1").replace("description: d", "description: '\"><script>alert(1)</script>'")
    view = desk.post(FORM, text=evil.replace("name: A", "name: '</iframe><img src=x onerror=1>'"))
    assert view.status == 200
    assert "<script>alert" not in view.html
    assert "<img src=x" not in view.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in preview_in(view)
    assert backend.get("/integrations")["data"] == []


def test_integrations_are_listed_by_name_page_by_page(desk, apply):
    for number in range(55):
        apply(TRIGGER.format("1").replace("name: A", f"name: Number {number:02}"))
    first = desk.get("/dashboard/integrations")
    assert first.text.index("Number 00") < first.text.index("Number 49")
    assert "Number 50" not in first.text
    after = html.unescape(re.search(r'href="([^"]+cursor=[^"]+)"', first.html)[1])
    assert "Number 54" in desk.get(after).text
    assert "Number 54" in desk.get("/dashboard/integrations?order=z-a").text
