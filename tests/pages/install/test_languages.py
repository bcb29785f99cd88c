"""The install page in German: by its link, by the browser, by default; what is stored stays English."""

from __future__ import annotations

import sqlalchemy as sa

from portal.db import transaction
from portal.links.models import FailedTry
from tests.install_page import View

GERMAN = "Magento verbinden"


def opened(app, link, accepted="") -> View:
    return View(app.test_client().get(link.url, headers={"Accept-Language": accepted}))


def test_the_links_language_wins_over_the_browsers_on_every_view(app, make_link):
    link = make_link(locale="de-AT")
    for _ in range(2):  # rendered, then joined from pieces
        view = opened(app, link, "fr")
        assert (view.status, view.heading) == (200, GERMAN)
        assert '<html lang="de" dir="ltr">' in view.html
        assert "Uhr UTC" in view.text
        assert "Accept-Language" in ", ".join(view.response.headers.getlist("Vary"))


def test_what_an_app_asks_for_and_where_it_is_found_is_said_in_german(app, make_link):
    link = make_link(locale="de")
    for _ in range(2):
        view = opened(app, link)
        assert "Adresse des Shops" in view.text
        assert "Melden Sie sich im Magento-Adminbereich an." in view.text
        assert "In Ihrem Shop wird nichts verändert." in view.text
        assert "Anzeigen – Inhalt von Zugriffstoken" in " ".join(view.text.split())
        for english in ("Store URL", "The access token", "Sign in to", "Nothing in your store"):
            assert english not in view.html


def test_the_browser_decides_where_the_link_says_nothing_that_is_offered(app, make_link):
    link = make_link(locale="ja")
    for _ in range(2):
        assert opened(app, link, "de-CH,en;q=0.5").heading == GERMAN
        assert opened(app, link, "fr").heading == "Connecter Magento"
        assert opened(app, link, "ja").heading == "Connect Magento"


def test_a_wrong_token_is_explained_in_german_and_kept_in_english(app, make_link, page_of, shop):
    page = page_of(make_link(locale="de"))
    page.open()
    view = page.fill(magento__store_url=shop.url, magento__access_token="wrong").finish()
    assert "Magento hat diese Angabe nicht akzeptiert: Zugriffstoken." in view.html
    with app.app_context(), transaction() as session:
        kept = session.scalars(sa.select(FailedTry.message)).one()
    assert kept.startswith("Magento did not accept this access token.")


def test_a_refusal_is_in_the_browsers_language(app):
    view = View(app.test_client().get("/embedded-install?token=x", headers={"Accept-Language": "de"}))
    assert (view.status, view.heading) == (404, "Dieser Link funktioniert nicht")
