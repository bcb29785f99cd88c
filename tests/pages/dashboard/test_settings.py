"""Settings that administrators change on the dashboard: what holds afterwards, on every face, and what can't be."""

from __future__ import annotations

import io
import re
import struct

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from portal import create_app
from portal.db import transaction
from portal.operators.models import Role
from portal.preferences.models import Logo, Preference
from tests.backend import link_in
from tests.install_page import InstallPage, View, assert_page_holds_its_promises

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">IIBBBBB", 64, 32, 8, 2, 0, 0, 0) + b"x" * 9
SETTINGS = "/dashboard/settings"


def policy(answer):
    return answer.headers["Content-Security-Policy"]


@pytest.fixture
def save(desk):
    """Save some settings on the page; what isn't named is sent as it stands there."""

    def run(**typed):
        page = desk.get(SETTINGS)
        shown = {name: facts.get("value", "") for name, facts in page.inputs.items() if name not in ("csrf", "logo")}
        return desk.post(SETTINGS, **{**shown, **typed})

    return run


def test_what_is_saved_holds_at_once_on_every_face(desk, save, app, link, integration):
    page = InstallPage(app, link)
    assert "Acme Analytics" in page.open().text
    save(
        vendor_name="Blue Orders & Co",
        accent="#c0392b",
        support_url="mailto:help@blue.example",
        frame_ancestors="https://app.blue.example",
    )
    view = page.open()
    assert "Blue Orders & Co asks to connect Magento" in view.text
    assert "Acme" not in view.html
    assert "--accent:#c0392b" in view.html
    assert "mailto:help@blue.example" in view.html
    assert "frame-ancestors https://app.blue.example" in policy(view.response)
    assert 'data-embedders="https://app.blue.example"' in view.html
    refused = View(app.test_client().get("/embedded-install?token=x"))
    assert "Blue Orders & Co" in refused.text
    assert "frame-ancestors https://app.blue.example" in policy(refused.response)
    handed_on = page.submit("pass-on")
    assert "Blue%20Orders%20%26%20Co%20asks%20us" in handed_on.html
    made = desk.post(f"/dashboard/integrations/{integration}/share", who="new", email="a@b.example", life="7d",
                     workflow=re.findall(r'name="workflow" value="(\w+)"',
                                         desk.get(f"/dashboard/integrations/{integration}/share").html))  # fmt: skip
    assert link_in(made)
    assert "for%20Blue%20Orders%20%26%20Co" in made.html
    assert "frame-ancestors 'none'" in policy(desk.get("/dashboard").response)


def test_the_page_says_what_was_saved_here_by_whom_and_what_the_default_is(desk, save):
    assert "Nothing yet: everything is as the environment says." in desk.get(SETTINGS).text
    save(vendor_name="Blue Orders")
    text = desk.get(SETTINGS).text
    assert "Saved here; the environment says Acme Analytics." in text
    assert "by admin@vendor.example" in text
    assert "Use the default Acme Analytics" in text
    assert text.count("This is the default, from the environment.") == 9


def test_only_what_was_changed_is_stored_and_the_rest_follows_the_environment(save, app):
    save(event_days="30")
    with app.app_context(), transaction() as session:
        assert [row.name for row in session.scalars(sa.select(Preference))] == ["event_days"]
    save(event_days="90")
    with app.app_context(), transaction() as session:
        assert session.scalars(sa.select(Preference)).all() == []


def test_a_setting_can_be_given_back_to_the_environment(desk, save, app, link):
    save(vendor_name="Blue Orders")
    desk.post(f"{SETTINGS}/vendor_name/reset")
    assert "Acme Analytics asks" in InstallPage(app, link).open().text
    text = desk.get("/dashboard/audit").text
    assert "settings.reset" in text
    assert "settings.change" in text


def test_another_process_notices_within_a_second(save, app, link):
    other = create_app(app.config["PORTAL_SETTINGS"])
    page = InstallPage(other, link)
    assert "Acme Analytics asks" in page.open().text
    save(vendor_name="Blue Orders")
    other.extensions["settings"]._until -= 1  # a second later
    assert "Blue Orders asks" in page.open().text
    other.extensions["database"].engine.dispose()


CAN_NOT_BE = {
    "vendor_name": ["", " ", "a" * 81, "two\nlines", "mark\ue000token\ue001"],
    "accent": ["red", "#fff", "#1f5fbf;}*{display:none", "url(//evil.example)"],
    "support_url": ["javascript:alert(1)", "data:text/html,x", "https://a b", "https://x\r\nSet-Cookie: a=b", "//evil"],
    "frame_ancestors": ["", "https://a.example; script-src *", "https://a.example,x y;z", "a\u200bb", "'none' https://a.example",
                        "'unsafe-inline'", "javascript:", "https://a.example/path?x=1"],
    "run_log_days": ["0", "-1", "4000", "x", "", "1e3", "٣"],
    "event_days": ["6", "99999999"],
    "link_days": ["29"],
    "audit_days": ["1", "365"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in CAN_NOT_BE for value in CAN_NOT_BE[name]])
def test_what_can_not_be_is_explained_at_its_field_and_nothing_is_saved(save, app, name, value):
    view = save(**{name: value})
    assert view.status == 422
    assert view.dom.title.startswith("Error: Settings")
    assert view.error_at(name)
    assert view.inputs[name]["aria-invalid"] == "true"
    with app.app_context(), transaction() as session:
        assert session.scalars(sa.select(Preference)).all() == []


@pytest.mark.parametrize(
    "value",
    ["*", "'none'", "'self' https://a.example", "https://*.a.example:8443", "a.example", "http://localhost:3000/"],
)
def test_origins_that_may_embed_can_be_these(save, app, link, value):
    save(frame_ancestors=value)
    assert policy(InstallPage(app, link).open().response).endswith(f"frame-ancestors {value}")


def test_a_name_is_shown_as_text_and_never_as_a_tag(save, app, link):
    save(vendor_name="<script>alert(1)</script>")
    view = InstallPage(app, link).open()
    assert "<script>alert" not in view.html
    assert "<script>alert(1)</script> asks to connect" in view.text


def test_the_preview_is_the_install_page_with_values_that_nobody_saved(desk, app, link, integration):
    page = desk.post(SETTINGS, action="preview", vendor_name="Blue Orders", accent="#ffff00", support_url="")
    assert "Preview: nothing of this is saved yet" in page.text
    assert page.inputs["vendor_name"]["value"] == "Blue Orders"
    assert "In light mode, #ffff00 has a contrast of 1.0 : 1 on the page; 4.5 : 1 is needed. It is shown" in page.text
    assert "In dark mode, #ffff00 has a contrast of 14." in page.text
    assert "It can be read as it is. The black text on its buttons has" in page.text
    frame = next(facts for tag, facts in page.dom.tags if tag == "iframe")
    assert frame["sandbox"] == "allow-same-origin"
    shown = View(desk.client.get(frame["src"]))
    assert_page_holds_its_promises(shown)
    assert "Blue Orders asks to connect Magento for Ada Lovelace" in shown.text
    assert "Questions? Ask the people at Blue Orders who sent you this link." in shown.text
    assert "Acme Analytics asks" in InstallPage(app, link).open().text


def test_the_preview_can_only_be_embedded_by_us_and_nothing_on_it_works(desk):
    answer = desk.client.get(f"{SETTINGS}/preview?vendor_name=Blue")
    assert "frame-ancestors 'self'" in policy(answer)
    assert "; sandbox allow-same-origin" in policy(answer)
    assert "frame-src 'self'" in policy(desk.client.get(SETTINGS))
    assert "sandbox" not in policy(desk.client.get(SETTINGS))


def test_the_preview_without_an_integration_shows_some_app(desk):
    assert "Connect " in View(desk.client.get(f"{SETTINGS}/preview")).heading


def test_the_preview_refuses_what_could_not_be_saved(desk):
    view = View(desk.client.get(f"{SETTINGS}/preview?accent=red"))
    assert view.status == 422
    assert "red" not in view.text


def test_while_somebody_types_only_the_preview_travels(desk):
    answer = desk.client.post(
        SETTINGS,
        data={"csrf": desk.csrf, "action": "preview", "vendor_name": "Blue", "accent": "#00ff00"},
        headers={"HX-Request": "true"},
    )
    assert answer.text.strip().startswith('<section id="preview"')
    assert "vendor_name=Blue" in answer.text
    bad = desk.client.post(
        SETTINGS, data={"csrf": desk.csrf, "action": "preview", "vendor_name": ""}, headers={"HX-Request": "true"}
    )
    assert bad.status_code == 422
    assert "There is no preview until this is mended" in bad.text


def test_a_viewer_sees_settings_and_has_no_form(sign_in):
    page = sign_in(Role.viewer).get(SETTINGS)
    assert "vendor_name" not in page.inputs
    assert "Set in the environment" in page.text


def test_no_password_in_an_address_is_shown(desk, app, monkeypatch):
    settings = app.config["PORTAL_SETTINGS"].model_copy(
        update={
            "database_url": "postgresql+psycopg://portal:db-secret@db.example/portal?password=db-secret&sslmode=require",
            "installation_webhook_url": "https://hook:hook-secret@acme.example/in?token=hook-secret",
            "oidc_client_secret": SecretStr("client-secret"),
        }
    )
    monkeypatch.setattr(app.extensions["settings"], "defaults", settings)
    page = desk.get(SETTINGS)
    assert "postgresql+psycopg://…@db.example/portal" in page.text
    assert "-secret" not in page.text


def upload(desk, data, **more):
    facts = {"csrf": desk.csrf, "logo": (io.BytesIO(data), "logo.png"), **more}
    return View(desk.client.post(f"{SETTINGS}/logo", data=facts, follow_redirects=True))


def test_a_logo_is_uploaded_shown_served_as_a_picture_alone_and_removed(desk, app, link):
    upload(desk, PNG)
    page = InstallPage(app, link).open()
    src = next(facts["src"] for tag, facts in page.dom.tags if tag == "img")
    answer = app.test_client().get(src)
    assert answer.data == PNG
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert policy(answer) == "default-src 'none'; sandbox"
    assert "immutable" in answer.headers["Cache-Control"]
    upload(desk, b"", action="remove")
    assert "<img" not in InstallPage(app, link).open().html


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "Choose a file first."),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "it may carry a program"),
        (b"<!doctype html><script>alert(1)</script>", "It is no PNG"),
        (b"GIF89a" + b"x" * 50, "It is no PNG"),
        (PNG + b"x" * 200_000, "at most 200 kB"),
        (PNG[:16] + struct.pack(">II", 50_000, 50_000) + PNG[24:], "at most 4000 by 4000"),
    ],
)
def test_a_file_that_is_no_picture_is_refused_with_a_sentence(desk, app, data, said):
    view = upload(desk, data)
    assert view.status == 422
    assert said in view.text
    with app.app_context(), transaction() as session:
        assert session.scalars(sa.select(Logo)).all() == []


def test_a_picture_that_is_a_page_as_well_is_never_served_as_one(desk, app):
    upload(desk, PNG + b"<script>alert(1)</script>")
    src = re.search(r'src="(/logo/[^"]+)"', desk.get(SETTINGS).html)[1]
    assert src.endswith(".png")
    assert app.test_client().get(src).headers["Content-Type"] == "image/png"


def test_only_the_newest_logos_are_kept(desk, app):
    for number in range(8):
        upload(desk, PNG + bytes([number]))
    with app.app_context(), transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Logo)) == 5
        assert session.scalar(sa.select(Logo).where(Logo.data == PNG + b"\x07")) is not None


def test_an_unknown_logo_is_not_there(app):
    assert app.test_client().get("/logo/x.png").status_code == 404


def test_the_default_language_and_those_that_are_offered_are_settings(desk, save, app, link, integration):
    save(language="de")
    assert InstallPage(app, link).open().heading == "Magento verbinden"
    desk.post(SETTINGS, **{"language": "en", "languages": "", "language-de": "yes"})
    french = {"Accept-Language": "fr,de;q=0.5"}
    assert View(app.test_client().get(link.url, headers=french)).heading == "Magento verbinden"
    share = desk.get(f"/dashboard/integrations/{integration}/share").html
    assert ('value="de"' in share, 'value="fr"' in share) == (True, False)
    preview = desk.get(f"/dashboard/integrations/{integration}/preview?language=de").html
    assert "Magento verbinden" in preview
