"""Every route as every role: a table from the address map, so that a new route can't be forgotten."""

from __future__ import annotations

import re

import pytest

from portal.operators.models import Role

NOBODY, VIEWER, MEMBER, ADMIN = None, Role.viewer, Role.member, Role.admin
# What each route needs at the least. A route that isn't here fails the test.
NEEDS = {
    ("GET", "/dashboard/sign-in"): NOBODY,
    ("POST", "/dashboard/sign-in"): NOBODY,
    ("POST", "/dashboard/sign-out"): VIEWER,
    ("GET", "/dashboard/sessions"): VIEWER,
    ("POST", "/dashboard/sessions/<session_id>/end"): VIEWER,
    ("POST", "/dashboard/environment"): VIEWER,
    ("POST", "/dashboard/sign-in/options"): NOBODY,
    ("POST", "/dashboard/sign-in/passkey"): NOBODY,
    ("POST", "/dashboard/passkeys/options"): VIEWER,
    ("POST", "/dashboard/passkeys"): VIEWER,
    ("POST", "/dashboard/passkeys/<passkey>/remove"): VIEWER,
    ("GET", "/dashboard/sign-in/oidc"): NOBODY,
    ("GET", "/dashboard/sign-in/oidc/callback"): NOBODY,
    ("GET", "/dashboard/proof"): VIEWER,
    ("POST", "/dashboard/proof/passkey"): VIEWER,
    ("POST", "/dashboard/proof/link"): VIEWER,
    ("GET", "/dashboard"): VIEWER,
    ("GET", "/dashboard/settings"): VIEWER,
    ("POST", "/dashboard/settings"): ADMIN,
    ("GET", "/dashboard/settings/preview"): ADMIN,
    ("POST", "/dashboard/settings/logo"): ADMIN,
    ("POST", "/dashboard/settings/<name>/reset"): ADMIN,
    ("GET", "/dashboard/audit"): ADMIN,
    ("POST", "/dashboard/audit/export"): ADMIN,
    ("GET", "/dashboard/integrations"): VIEWER,
    ("GET", "/dashboard/integrations/<integration>"): VIEWER,
    ("GET", "/dashboard/integrations/<integration>/preview"): VIEWER,
    ("GET", "/dashboard/integrations/<integration>/file"): VIEWER,
    ("GET", "/dashboard/integrations/apply"): ADMIN,
    ("POST", "/dashboard/integrations/apply"): ADMIN,
    ("GET", "/dashboard/integrations/<integration>/share"): MEMBER,
    ("POST", "/dashboard/integrations/<integration>/share"): MEMBER,
    ("GET", "/dashboard/users/search"): MEMBER,
    ("GET", "/dashboard/links"): VIEWER,
    ("GET", "/dashboard/links/<link>"): VIEWER,
    ("POST", "/dashboard/links/<link>/revoke"): MEMBER,
    ("POST", "/dashboard/links/<link>/replace"): MEMBER,
    ("GET", "/dashboard/users"): VIEWER,
    ("POST", "/dashboard/users"): MEMBER,
    ("GET", "/dashboard/users/<user>"): VIEWER,
    ("GET", "/dashboard/users/<user>/share"): MEMBER,
    ("POST", "/dashboard/users/<user>/export"): MEMBER,
    ("POST", "/dashboard/users/<user>/delete"): ADMIN,
    ("POST", "/dashboard/users/<user>/delete-logs"): ADMIN,
    ("GET", "/dashboard/installations"): VIEWER,
    ("GET", "/dashboard/installations/<installation>"): VIEWER,
    ("POST", "/dashboard/installations/<installation>/<deed>"): MEMBER,
    ("GET", "/dashboard/runs"): VIEWER,
    ("GET", "/dashboard/runs/<run>"): VIEWER,
    ("POST", "/dashboard/runs/<run>/rerun"): MEMBER,
    ("POST", "/dashboard/runs/<run>/try-now"): MEMBER,
    ("POST", "/dashboard/runs/<run>/stop"): MEMBER,
    ("GET", "/dashboard/children/<child>"): VIEWER,
    ("POST", "/dashboard/children/<child>/<deed>"): MEMBER,
    ("GET", "/dashboard/events"): VIEWER,
    ("GET", "/dashboard/events/<event>"): VIEWER,
    ("POST", "/dashboard/events/<event>/redeliver"): MEMBER,
    ("POST", "/dashboard/events"): MEMBER,
    ("POST", "/dashboard/deliveries/<delivery>/redeliver"): MEMBER,
    ("GET", "/dashboard/endpoints"): VIEWER,
    ("POST", "/dashboard/endpoints"): ADMIN,
    ("GET", "/dashboard/endpoints/<endpoint_id>"): VIEWER,
    ("POST", "/dashboard/endpoints/<endpoint_id>"): ADMIN,
    ("POST", "/dashboard/endpoints/<endpoint_id>/pause"): ADMIN,
    ("POST", "/dashboard/endpoints/<endpoint_id>/resume"): ADMIN,
    ("POST", "/dashboard/endpoints/<endpoint_id>/remove"): ADMIN,
    ("POST", "/dashboard/endpoints/<endpoint_id>/test"): MEMBER,
    ("GET", "/dashboard/tasks"): MEMBER,
    ("GET", "/dashboard/tasks/<task>"): MEMBER,
    ("GET", "/dashboard/tasks/<task>/file"): MEMBER,
    ("GET", "/dashboard/api-keys"): ADMIN,
    ("POST", "/dashboard/api-keys"): ADMIN,
    ("POST", "/dashboard/api-keys/<key>/revoke"): ADMIN,
}


def routes(app):
    return {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("dashboard.")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }


def address(rule):
    return "/".join("0" * 24 if part.startswith("<") else part for part in rule.split("/"))


def test_every_route_has_its_line(app):
    assert routes(app) == set(NEEDS)


@pytest.mark.parametrize("role", Role)
def test_a_role_reaches_what_it_may_and_nothing_else(sign_in, role):
    for (method, rule), needed in NEEDS.items():
        desk = sign_in(role)
        answer = desk.client.open(address(rule), method=method, data={"csrf": desk.csrf} if method == "POST" else None)
        refused = answer.status_code == 403 and "Your role doesn’t allow this" in answer.text
        assert refused == (needed is not None and not role.includes(needed)), (method, rule, answer.status_code)
        assert answer.status_code < 500


def test_without_a_session_every_route_leads_to_the_sign_in(app):
    for (method, rule), needed in NEEDS.items():
        answer = app.test_client().open(address(rule), method=method)
        if needed is not None:
            back = "" if rule == "/dashboard" else f"?back={address(rule)}"
            target = "/dashboard/sign-in" + ("?ended=yes" if method == "POST" else back)
            assert (answer.status_code, answer.headers["Location"]) == (303, target), (method, rule)


def test_a_form_without_the_session_s_token_changes_nothing(desk, sign_in):
    other = sign_in(email="other@vendor.example")
    for method, rule in NEEDS:
        if method != "POST" or NEEDS[method, rule] is NOBODY:  # these have no session: see test_foreign_forms.py
            continue
        for csrf in ("", "x", "é", "AAAA", other.csrf):
            answer = desk.client.post(address(rule), data={"csrf": csrf})
            assert answer.status_code == 400, rule
            assert "This form is too old" in answer.text


def test_the_token_is_written_differently_on_each_page_and_holds_for_each(desk):
    """What is compressed tells by its length what stands in it twice: a token that changes can't be guessed so."""
    written = {re.search(r'name="csrf" value="([^"]+)"', desk.get("/dashboard/links?user=a").html)[1] for _ in range(4)}
    assert len(written) == 4
    for csrf in written:
        answer = desk.client.post("/dashboard/environment", data={"csrf": csrf, "environment": "production"})
        assert answer.status_code == 303


def test_htmx_is_led_to_the_sign_in_as_a_whole(app):
    answer = app.test_client().get("/dashboard/links", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, "/dashboard/sign-in")
