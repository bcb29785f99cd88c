"""The end user's journey in German and in French: chosen by the link, or by the browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

GERMAN = {
    "finish": "Installation abschließen",
    "check": "Verbindung prüfen",
    "hand_on": "Diese Seite weitergeben",
    "url": "Adresse des Shops",
    "token": "Zugriffstoken",
    "show": "Anzeigen",
    "hide": "Verbergen",
    "no_address": "Geben Sie die Adresse ein.",
    "wrong": "Magento hat diese Angabe nicht akzeptiert: Zugriffstoken.",
    "connected": "Verbunden als Luma Store.",
    "done": "Magento ist verbunden",
    "used": "Dieser Link wurde schon verwendet",
    "since": "Die Integration ist seit",
    "ask": "Neuen Link anfordern",
    "asked": "weiß Bescheid",
    "error": "Fehler",
}
FRENCH = {
    "finish": "Terminer l’installation",
    "check": "Vérifier la connexion",
    "hand_on": "Transmettre cette page",
    "url": "Adresse de la boutique",
    "token": "Jeton d’accès",
    "show": "Afficher",
    "hide": "Masquer",
    "no_address": "Saisissez l’adresse.",
    "wrong": "Magento n’a pas accepté",
    "connected": "Luma Store",
    "done": "Magento",
    "used": "Ce lien a déjà été utilisé",
    "since": "",
    "ask": "Demander un nouveau lien",
    "asked": "est au courant",
    "error": "Erreur",
}


@pytest.mark.parametrize(("tag", "said"), [("de", GERMAN), ("fr", FRENCH)])
def test_the_whole_journey_is_in_the_language_of_the_link(visit, portal, tag, said):
    page = visit(tag, viewport={"width": 320, "height": 640})
    link = portal.link(f"{tag}@shop.example", "--locale", tag)
    page.open(link).picture("1-form")
    assert page.page.locator("html").get_attribute("lang") == tag

    token = page.page.get_by_label(said["token"], exact=True)
    token.fill("wrong")
    page.page.get_by_role("button", name=said["show"]).click()
    expect(token).to_have_attribute("type", "text")
    page.page.get_by_role("button", name=said["hide"]).click()
    expect(token).to_have_attribute("type", "password")
    expect(page.page.get_by_role("button", name=said["show"])).to_be_visible()

    page.press(said["finish"]).picture("2-empty")
    assert said["no_address"] in page.error_text
    assert page.page.title().startswith(said["error"])
    page.fill(said["url"], portal.shop).fill(said["token"], "wrong").press(said["check"]).picture("3-wrong")
    assert said["wrong"] in page.error_text
    token.fill(portal.token)
    page.press(said["check"]).picture("4-checked")
    expect(page.page.get_by_text(said["connected"]).first).to_be_visible()
    page.press(said["hand_on"]).picture("5-handed-on")

    page.press(said["finish"]).picture("6-done")
    assert said["done"] in page.heading
    page.open(link).picture("7-used")
    assert page.heading == said["used"]
    expect(page.page.locator("main")).to_contain_text(said["since"])
    page.page.get_by_role("button", name=said["ask"]).click()
    expect(page.page.get_by_role("heading", level=1)).to_contain_text(said["asked"])
    page.picture("8-asked")


def test_the_browser_chooses_where_the_link_does_not(visit, portal):
    link = portal.link("browser@shop.example")
    assert visit("by-browser", locale="de-CH").open(link).heading == "Magento verbinden"
    assert visit("by-browser", locale="ja-JP").open(link).heading == "Connect Magento"
