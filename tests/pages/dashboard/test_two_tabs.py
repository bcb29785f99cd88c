"""What a page that was left open may still do when another tab has gone on: nothing that it doesn't show."""

from __future__ import annotations

import pytest

from tests.install_page import View


def csrf_of(page):
    return page.inputs["csrf"]["value"]


@pytest.mark.parametrize(
    ("path", "facts"),
    [
        ("/dashboard/users", {"username": "bob@shop.example"}),
        ("/dashboard/api-keys", {"name": "billing server"}),
        ("/dashboard/endpoints", {"name": "Bill", "url": "https://bill.example/hook"}),
        ("/dashboard/events", {"since": "2026-01-01T00:00"}),
    ],
)
def test_a_form_changes_nothing_in_an_environment_that_it_did_not_show(desk, path, facts):
    desk.post("/dashboard/environment", environment="development")
    left_open = csrf_of(desk.get(path))
    desk.post("/dashboard/environment", environment="production")
    before = desk.get(path).text
    answer = View(desk.client.post(path, data={"csrf": left_open, **facts}))
    assert answer.status == 409
    assert answer.heading == "You look at production now"
    assert "The page that you sent showed development" in answer.text
    assert "Nothing was changed" in answer.text
    assert desk.get(path).text == before


def test_a_share_dialog_of_the_other_environment_makes_no_link(desk, integration):
    address = f"/dashboard/integrations/{integration}/share"
    left_open = csrf_of(desk.get(address))
    desk.post("/dashboard/environment", environment="development")
    answer = View(desk.client.post(address, data={"csrf": left_open, "who": "new", "email": "bob@shop.example"}))
    assert (answer.status, answer.heading) == (409, "You look at development now")
    assert "There are none yet" in desk.get("/dashboard/links").text
    assert "There are none yet" in desk.get("/dashboard/users").text


def test_a_page_of_the_other_environment_still_switches_and_signs_out(desk):
    left_open = csrf_of(desk.get("/dashboard"))
    desk.post("/dashboard/environment", environment="development")
    facts = {"csrf": left_open, "environment": "development"}
    assert desk.client.post("/dashboard/environment", data=facts).status_code == 303
    assert desk.client.post("/dashboard/sign-out", data=facts).status_code == 303
    assert desk.client.get("/dashboard").headers["Location"].startswith("/dashboard/sign-in")


def test_who_was_signed_out_meanwhile_reads_that_nothing_was_changed(desk):
    desk.get("/dashboard/users")
    desk.client.delete_cookie("portal-session", path="/dashboard")
    said = desk.post("/dashboard/users", username="bob@shop.example")
    assert said.heading == "Sign in"
    assert "nothing was changed by what you sent" in said.text
    assert "nothing was changed" not in desk.get("/dashboard/sign-in").text


@pytest.mark.parametrize("csrf", ["é", "x.production", ".", "é.development"])
def test_a_token_in_other_letters_is_refused_like_any_other(desk, csrf):
    assert desk.client.post("/dashboard/users", data={"csrf": csrf, "username": "bob"}).status_code == 400
