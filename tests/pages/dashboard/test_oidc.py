"""Signing in by an OpenID provider: who comes in, who doesn't, and every way in which somebody may try."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from joserfc import jwt
from joserfc.jwk import RSAKey

from portal import create_app
from portal.clock import now
from portal.dashboard.csrf import mask
from portal.db import transaction
from portal.operators.models import Operator, OperatorSession, Role
from portal.operators.rules import invite
from portal.settings import MissingSetting, read_settings
from tests.backend import change
from tests.conftest import BASE
from tests.install_page import View
from tests.oidc_provider import CLIENT, SECRET, OpenIdProvider
from tests.stage import close

START, CALLBACK = "/dashboard/sign-in/oidc", "/dashboard/sign-in/oidc/callback"
EMAIL = "ada@vendor.example"


@pytest.fixture
def idp():
    """The provider."""
    server = OpenIdProvider()
    yield server
    server.close()


@pytest.fixture
def make_app(instance, idp):
    """A portal that knows the provider."""
    made = []

    def make(**settings):
        given = {"oidc_issuer": idp.url, "oidc_client_id": CLIENT, "oidc_client_secret": SECRET, "oidc_name": "Acme ID"}
        made.append(create_app(read_settings(instance=instance, **{"base_url": BASE, **given, **settings})))
        return made[-1]

    yield make
    for one in made:
        close(one)


@pytest.fixture
def app(make_app):
    """The portal; only who was invited comes in."""
    return make_app()


def be_invited(app, email=EMAIL, role=Role.member):
    with app.app_context(), transaction() as session:
        invite(session, email, role, now())


@pytest.fixture
def invited(app):
    """Ada is an operator already."""
    be_invited(app)


def begin(client, **query):
    """Press the button; the address at the provider that the browser goes to."""
    answer = client.get(START, query_string=query)
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


def come_back(client, address):
    """The browser follows the provider's redirect."""
    parts = urlsplit(address)
    assert f"{parts.scheme}://{parts.netloc}" == BASE
    return View(client.get(f"{parts.path}?{parts.query}"))


def sign_in(app, idp, client=None, **query):
    """The whole way."""
    client = client or app.test_client()
    return come_back(client, idp.approve(begin(client, **query))), client


def is_signed_in(client):
    return client.get("/dashboard").status_code == 200


def assert_refused(view, client, said):
    assert 400 <= view.status < 600 and view.status != 500
    assert said in view.text
    assert "To the sign-in page" in view.text
    assert not any("portal-session" in cookie for cookie in view.response.headers.getlist("Set-Cookie"))
    assert not is_signed_in(client)


# Who comes in


def test_an_invited_operator_signs_in_and_the_log_says_how(app, idp, invited):
    page = app.test_client().get("/dashboard/sign-in?back=/dashboard/links").text
    assert f'href="{START}?back=/dashboard/links">Sign in with Acme ID</a>' in page
    view, client = sign_in(app, idp)
    assert (view.status, view.response.headers["Location"]) == (303, "/dashboard")
    assert is_signed_in(client)
    be_invited(app, role=Role.admin)
    text = View(client.get("/dashboard/audit")).text
    assert "session.start" in text
    assert "way: oidc" in text


def test_what_is_asked_of_the_provider_is_bound_to_the_browser(app, idp, invited):
    client = app.test_client()
    first, second = (parse_qs(urlsplit(begin(client)).query) for _ in range(2))
    assert first["response_type"] == ["code"]
    assert first["scope"] == ["openid email"]
    assert first["client_id"] == [CLIENT]
    assert first["redirect_uri"] == [BASE + CALLBACK]
    assert first["code_challenge_method"] == ["S256"]
    assert "prompt" not in first
    for secret in ("state", "nonce", "code_challenge"):
        assert len(first[secret][0]) >= 43
        assert first[secret] != second[secret]
    cookie = client.get(START).headers["Set-Cookie"]
    for word in ("HttpOnly", "SameSite=Lax", f"Path={START}", "Max-Age=600"):
        assert word in cookie
    assert first["nonce"][0] not in cookie


def test_the_cookie_of_an_attempt_is_for_https_alone_where_the_portal_is(make_app):
    app = make_app(base_url="https://install.example")
    cookie = app.test_client().get(START).headers["Set-Cookie"]
    assert cookie.startswith("__Host-portal-oidc=")
    assert {"Secure", "Path=/", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
    assert "Domain" not in cookie


def test_a_stranger_is_told_to_be_invited(app, idp):
    view, client = sign_in(app, idp)
    assert_refused(view, client, f"Nobody has invited “{EMAIL}” yet.")
    with app.app_context(), transaction() as session:
        assert session.scalars(sa.select(Operator)).all() == []


def test_with_a_role_for_newcomers_who_is_of_the_domain_comes_in(make_app, idp):
    app = make_app(oidc_role="viewer", oidc_domains="vendor.example")
    _, client = sign_in(app, idp)
    assert is_signed_in(client)
    with app.app_context(), transaction() as session:
        (one,) = session.scalars(sa.select(Operator))
        assert (one.email, one.role) == (EMAIL, Role.viewer)


def test_an_operator_s_role_stays_as_it_was_given(make_app, idp):
    app = make_app(oidc_role="admin", oidc_domains="vendor.example")
    be_invited(app, role=Role.viewer)
    _, client = sign_in(app, idp)
    assert client.get("/dashboard/audit").status_code == 403


@pytest.mark.parametrize(
    "email",
    ["ada@evil.example", "ada@vendor.example.evil.example", "ada@sub.vendor.example", "a@vendor.example@evil.x"],
)
def test_a_foreign_domain_stays_outside(make_app, idp, email):
    app = make_app(oidc_domains="vendor.example", oidc_role="admin")
    idp.behave.email = email
    view, client = sign_in(app, idp)
    assert 400 <= view.status < 500
    assert not is_signed_in(client)


def test_a_foreign_domain_stays_outside_even_when_invited(make_app, idp):
    app = make_app(oidc_domains="vendor.example")
    be_invited(app, "ada@guest.example")
    idp.behave.email = "ada@guest.example"
    assert_refused(*sign_in(app, idp), "“ada@guest.example” is not of a domain that may sign in here.")


def test_capital_letters_of_an_address_or_domain_make_no_difference(make_app, idp):
    app = make_app(oidc_domains="Vendor.Example")
    be_invited(app)
    idp.behave.email = "Ada@VENDOR.example"
    _, client = sign_in(app, idp)
    assert is_signed_in(client)


def test_a_sign_that_only_becomes_a_letter_of_somebody_elses_address_is_another_address(app, idp):
    be_invited(app, "mark@vendor.example", Role.admin)
    idp.behave.email = "mar\u212a@vendor.example"  # the Kelvin sign, whose small letter is k
    assert_refused(*sign_in(app, idp), "Nobody has invited")


def test_an_address_can_come_from_userinfo(app, idp, invited):
    idp.behave.userinfo = {"sub": "person-1", "email": EMAIL, "email_verified": True}
    _, client = sign_in(app, idp)
    assert is_signed_in(client)


def test_new_keys_of_the_provider_are_fetched_when_they_appear(app, idp, invited):
    sign_in(app, idp)
    idp.key = RSAKey.generate_key(2048, {"kid": "second", "use": "sig"})
    _, client = sign_in(app, idp)
    assert is_signed_in(client)
    assert [path for path, _ in idp.calls].count("/keys") == 2
    assert [path for path, _ in idp.calls].count("/.well-known/openid-configuration") == 1


def test_a_provider_that_wants_the_secret_in_the_form_gets_it_there(app, idp, invited):
    idp.behave.discovery = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    _, client = sign_in(app, idp)
    assert is_signed_in(client)


# What is not believed


def unsigned(claims):
    def part(document):
        return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none'})}.{part(claims)}."


def signed_with_the_public_key(idp):
    """HS256, with what everybody can read as the secret."""

    def sign(claims):
        def part(data):
            return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

        head = part(json.dumps({"alg": "HS256", "kid": "first"}).encode()) + "." + part(json.dumps(claims).encode())
        secret = idp.key.as_pem(private=False)
        return f"{head}.{part(hmac.new(secret, head.encode(), hashlib.sha256).digest())}"

    return sign


def signed_by_another(idp):
    return lambda claims: idp.sign(claims, RSAKey.generate_key(2048, {"kid": "first"}))


def altered(idp):
    def sign(claims):
        head, _, signature = idp.sign(claims).split(".")
        body = base64.urlsafe_b64encode(json.dumps({**claims, "email": "root@vendor.example"}).encode())
        return f"{head}.{body.rstrip(b'=').decode()}.{signature}"

    return sign


def with_its_own_key(idp):
    key = RSAKey.generate_key(2048, {"kid": "first"})
    return lambda claims: jwt.encode({"alg": "RS256", "jwk": key.as_dict(private=False)}, claims, key)


SIGNATURES = {
    "alg none": lambda idp: unsigned,
    "HS256 with the public key": signed_with_the_public_key,
    "another key": signed_by_another,
    "altered": altered,
    "no token": lambda idp: lambda claims: "",
    "nonsense": lambda idp: lambda claims: "a.b.c",
    "own key in the header": with_its_own_key,
}


@pytest.mark.parametrize("kind", SIGNATURES)
def test_a_token_that_the_provider_did_not_sign_is_not_believed(app, idp, invited, kind):
    idp.behave.sign = SIGNATURES[kind](idp)
    assert_refused(*sign_in(app, idp), "its signature isn’t the provider’s")


CLAIMS = {
    "another nonce": {"nonce": "x"},
    "no nonce": {"nonce": None},
    "another audience": {"aud": "another portal"},
    "no audience": {"aud": None},
    "audience of others": {"aud": ["another portal", "third"]},
    "for us too, but given to another": {"aud": [CLIENT, "another portal"], "azp": "another portal"},
    "for several, given to nobody": {"aud": [CLIENT, "another portal"]},
    "expired": {"exp": int(time.time()) - 3600},
    "never ending": {"exp": None},
    "not valid yet": {"nbf": int(time.time()) + 3600},
    "made in the future": {"iat": int(time.time()) + 3600},
    "another issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None},
    "nobody": {"sub": None},
    "end as a text": {"exp": "tomorrow"},
}


@pytest.mark.parametrize("kind", CLAIMS)
def test_a_token_that_is_not_for_this_attempt_is_not_believed(app, idp, invited, kind):
    idp.behave.claims = CLAIMS[kind]
    assert_refused(*sign_in(app, idp), "isn’t as it must be, or it is too old")


@pytest.mark.parametrize("verified", [False, None, "false", "true", 1, "yes"])
def test_an_address_that_is_not_verified_opens_nothing(app, idp, invited, verified):
    idp.behave.email_verified = verified
    assert_refused(*sign_in(app, idp), "doesn’t say that your e-mail address is verified")


@pytest.mark.parametrize(
    "userinfo",
    [
        {"sub": "somebody else", "email": EMAIL, "email_verified": True},
        {"email": EMAIL, "email_verified": True},
        {"sub": "person-1", "email": EMAIL},
        {"sub": "person-1"},
    ],
)
def test_userinfo_of_somebody_else_or_without_an_address_opens_nothing(app, idp, invited, userinfo):
    idp.behave.userinfo = userinfo
    view, client = sign_in(app, idp)
    assert view.status == 403
    assert not is_signed_in(client)


def test_the_state_of_another_browser_opens_nothing(app, idp, invited):
    attacker, victim = app.test_client(), app.test_client()
    address = idp.approve(begin(attacker))
    assert_refused(come_back(victim, address), victim, "This sign-in wasn’t begun here")
    begin(victim)  # an attempt of the victim's own doesn't help
    assert_refused(come_back(victim, address), victim, "This sign-in wasn’t begun here")


def test_an_answer_works_once_whoever_brings_it(app, idp, invited):
    client = app.test_client()
    address = idp.approve(begin(client))
    cookie = client.get_cookie("portal-oidc", path=START).value
    assert come_back(client, address).status == 303
    again = app.test_client()
    assert_refused(come_back(again, address), again, "This sign-in wasn’t begun here")
    thief = app.test_client()
    thief.set_cookie("portal-oidc", cookie, path=START)
    assert_refused(come_back(thief, address), thief, "Acme ID did not let you in")


def test_an_attempt_that_failed_can_not_be_tried_again_with_another_code(app, idp, invited):
    client = app.test_client()
    idp.behave.claims = {"nonce": "x"}
    address = begin(client)
    come_back(client, idp.approve(address))
    idp.behave.claims = {}
    assert_refused(come_back(client, idp.approve(address)), client, "This sign-in wasn’t begun here")


def test_an_attempt_is_over_after_ten_minutes(app, idp, invited, monkeypatch):
    client = app.test_client()
    address = idp.approve(begin(client))
    later = now() + timedelta(minutes=11)
    monkeypatch.setattr("portal.dashboard.oidc.now", lambda: later)
    assert_refused(come_back(client, address), client, "more than ten minutes ago")


@pytest.mark.parametrize("cookie", ["", "x", "AAAA", "%00", "é", "A" * 3000])
def test_a_cookie_that_we_did_not_seal_is_no_attempt(app, idp, invited, cookie):
    client = app.test_client()
    address = idp.approve(begin(client))
    client.set_cookie("portal-oidc", cookie, path=START)
    assert_refused(come_back(client, address), client, "This sign-in wasn’t begun here")


@pytest.mark.parametrize("iss", ["https://evil.example", ""])
def test_the_answer_of_another_provider_is_refused_before_the_code_is_used(app, idp, invited, iss):
    idp.behave.callback = {"iss": iss}
    assert_refused(*sign_in(app, idp), "it comes from another provider")
    assert "/token" not in [path for path, _ in idp.calls]


def test_who_turns_back_at_the_provider_is_told_so_and_nothing_of_theirs_is_repeated(app, idp, invited):
    idp.behave.callback = {"code": "", "error": "access_denied", "error_description": "<script>alert(1)</script>"}
    view, client = sign_in(app, idp)
    assert_refused(view, client, "you turned back there")
    assert "script>alert" not in view.html


def test_a_provider_that_gives_itself_out_as_another_is_not_asked_further(app, idp):
    idp.behave.discovery = {"issuer": "https://evil.example"}
    answer = app.test_client().get(START)
    assert answer.status_code == 502
    assert "its description" in answer.text


@pytest.mark.parametrize("address", ["javascript:alert(1)", "ftp://x", "", None, 7])
def test_an_address_of_the_provider_that_no_browser_should_go_to_is_refused(app, idp, address):
    idp.behave.discovery = {"authorization_endpoint": address}
    answer = app.test_client().get(START)
    assert answer.status_code == 502
    assert "Location" not in answer.headers


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys", "/token", "/userinfo"])
@pytest.mark.parametrize("what", [(500, b"{}"), (200, b"not json"), (200, b"[]"), (200, b" " * 300_000), (302, b"")])
def test_a_provider_that_answers_nonsense_is_named_and_nothing_breaks(app, idp, invited, path, what):
    idp.behave.answers = {path: what}
    idp.behave.userinfo = {"sub": "person-1", "email": EMAIL, "email_verified": True}
    client = app.test_client()
    begun = client.get(START)
    has_begun = begun.status_code == 303
    view = come_back(client, idp.approve(begun.headers["Location"])) if has_begun else View(begun)
    assert_refused(view, client, "The sign-in service doesn’t answer")


def test_a_provider_that_is_away_is_named(app, idp):
    idp.close()
    view = View(app.test_client().get(START))
    assert view.status == 502
    assert "We asked Acme ID for its description and got nothing that can be used." in view.text


@pytest.mark.parametrize(
    "back",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/dashboard/../../evil",
        "/dashboard@evil.example",
        "javascript:alert(1)",
        "/dashboard/sign-out",
        "/dashboard/sign-in?token=x",
        "/dashboard/users\r\nSet-Cookie: a=b",
        "/embedded-install",
        "/dashboard/" + "a" * 600,
        "http://[",
    ],
)
def test_nobody_is_led_elsewhere_afterwards(app, idp, invited, back):
    view, _ = sign_in(app, idp, back=back)
    assert view.response.headers["Location"] == "/dashboard"


def test_who_came_from_a_page_goes_back_to_it(app, idp, invited):
    view, _ = sign_in(app, idp, back="/dashboard/users?user=ada")
    assert view.response.headers["Location"] == "/dashboard/users?user=ada"


def test_no_secret_of_the_flow_is_stored_or_logged(app, idp, invited, capsys):
    sign_in(app, idp)
    token = next(form for path, form in idp.calls if path == "/token")
    out = "".join(capsys.readouterr())
    with app.app_context(), transaction() as session:
        dump = "\n".join(session.connection().connection.driver_connection.iterdump())
    for secret in (token["code"], token["code_verifier"], SECRET, "access-1"):
        assert secret not in dump + out


# Proving again who one is


@pytest.fixture
def desk_of_ada(app, idp):
    """Ada, an administrator, signed in by the provider; long ago."""
    be_invited(app, role=Role.admin)
    _, client = sign_in(app, idp)
    change(app, sa.update(OperatorSession).values(proved_at=now() - timedelta(hours=1)))
    with app.app_context(), transaction() as session:
        client.csrf = f"{mask(session.scalar(sa.select(OperatorSession.csrf)))}.production"
    return client


def may_make_a_key(client):
    answer = client.post(
        "/dashboard/api-keys",
        data={"csrf": client.csrf, "name": "x"},
        headers={"Referer": "http://localhost/dashboard/api-keys"},
    )
    assert answer.status_code in (200, 403)
    return answer.status_code == 200


def test_who_was_signed_in_at_the_provider_for_long_has_proved_nothing(app, idp):
    be_invited(app, role=Role.admin)
    for age, expected in ((None, False), (3600, False), (60, True)):
        idp.behave.auth_time = None if age is None else time.time() - age
        change(app, sa.delete(OperatorSession))
        _, client = sign_in(app, idp)
        with app.app_context(), transaction() as session:
            client.csrf = f"{mask(session.scalar(sa.select(OperatorSession.csrf)))}.production"
        assert may_make_a_key(client) is expected


def test_signing_in_anew_at_the_provider_is_a_proof_and_leads_back(app, idp, desk_of_ada):
    assert not may_make_a_key(desk_of_ada)
    address = begin(desk_of_ada, proof="yes", back="/dashboard/api-keys")
    asked = parse_qs(urlsplit(address).query)
    assert (asked["prompt"], asked["max_age"]) == (["login"], ["0"])
    view = come_back(desk_of_ada, idp.approve(address))
    assert view.response.headers["Location"] == "/dashboard/api-keys"
    assert may_make_a_key(desk_of_ada)
    assert "session.prove" in desk_of_ada.get("/dashboard/audit").text


@pytest.mark.parametrize("claims", [{"auth_time": int(time.time()) - 600}, {"auth_time": None}, {"auth_time": "now"}])
def test_a_provider_that_asked_for_no_new_sign_in_proves_nothing(app, idp, desk_of_ada, claims):
    idp.behave.claims = claims
    view = come_back(desk_of_ada, idp.approve(begin(desk_of_ada, proof="yes")))
    assert view.status == 403
    assert not may_make_a_key(desk_of_ada)


def test_the_proof_of_somebody_else_is_none(app, idp, desk_of_ada):
    be_invited(app, "eve@vendor.example", Role.admin)
    idp.behave.email = "eve@vendor.example"
    view = come_back(desk_of_ada, idp.approve(begin(desk_of_ada, proof="yes")))
    assert view.status == 403
    assert "That is somebody else" in view.text
    assert not may_make_a_key(desk_of_ada)


def test_an_ordinary_sign_in_that_was_begun_is_no_proof_for_the_session_of_before(app, idp, desk_of_ada):
    idp.behave.auth_time = time.time() - 3600
    come_back(desk_of_ada, idp.approve(begin(desk_of_ada)))
    with app.app_context(), transaction() as session:
        csrf = session.scalars(sa.select(OperatorSession.csrf).order_by(OperatorSession.created_at.desc())).first()
        desk_of_ada.csrf = f"{mask(csrf)}.production"
    assert not may_make_a_key(desk_of_ada)


def test_removing_an_operator_says_so_when_the_provider_would_bring_them_back(make_app, idp):
    app = make_app(oidc_role="viewer", oidc_domains="vendor.example")
    _, client = sign_in(app, idp)
    said = app.test_cli_runner().invoke(args=["operator", "remove", EMAIL]).stdout
    assert "Take them away at your provider as well" in said
    assert not is_signed_in(client)


# Settings


def test_without_a_provider_there_is_no_button_and_no_way(instance):
    app = create_app(read_settings(instance=instance, base_url=BASE))
    assert "sign-in/oidc" not in app.test_client().get("/dashboard/sign-in").text
    for path in (START, CALLBACK):
        view = View(app.test_client().get(path))
        assert view.status == 404
        assert "There is no single sign-on here" in view.text
    app.extensions["database"].engine.dispose()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"oidc_issuer": "https://id.example"}, "PORTAL_OIDC_CLIENT_ID"),
        ({"oidc_issuer": "https://id.example", "oidc_client_id": "x"}, "PORTAL_OIDC_CLIENT_SECRET"),
        ({"oidc_issuer": "id.example"}, "PORTAL_OIDC_ISSUER: must begin with https://"),
        ({"oidc_role": "admin"}, "PORTAL_OIDC_DOMAINS"),
        ({"oidc_role": "root"}, "PORTAL_OIDC_ROLE"),
    ],
)
def test_a_provider_that_is_set_up_by_half_stops_the_start_with_a_sentence(given, said):
    with pytest.raises(MissingSetting, match=said):
        read_settings(**given)
