"""Where an end user got stuck, also before any app was asked: the operator reads what they read."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.db import transaction
from portal.environments import Environment
from portal.events.kinds import LINK_FAILED
from portal.events.models import Endpoint, Event, documented_id
from portal.links.models import FailedTry, Link
from portal.links.rules import TRIES, require_patience
from tests.install_page import InstallPage


@pytest.fixture
def customer(app, link):
    """The one with the link."""
    page = InstallPage(app, link)
    page.open()
    return page


def tries(app):
    with app.app_context(), transaction() as session:
        return [(one.field, one.reason, one.message) for one in session.scalars(sa.select(FailedTry))]


def test_what_was_typed_wrong_is_told_with_its_field_and_the_sentence_that_they_read(desk, customer, link):
    view = customer.fill(magento__store_url="my shop", magento__access_token="s3cr3t-token").finish()
    said = view.error_at("magento-store_url")
    assert said
    page = desk.get(f"/dashboard/links/{link.id}")
    assert f"Magento, Store URL: “{said}”" in page.text
    assert f"Magento, Store URL: “{said}”" in desk.get("/dashboard/links").text
    assert "my shop" not in page.text
    assert "s3cr3t-token" not in page.html


def test_what_was_left_empty_is_told_as_well(desk, customer, link):
    customer.finish()
    assert "Magento, Store URL: “Type the address.”" in desk.get(f"/dashboard/links/{link.id}").text


def test_the_same_mistake_again_is_told_once_and_another_one_anew(app, customer):
    customer.finish()
    customer.finish()
    customer.check()
    customer.fill(magento__store_url="my shop").finish()
    assert [field for field, _, _ in tries(app)] == ["store_url", "store_url"]
    assert {reason for _, reason, _ in tries(app)} == {"mistyped"}


def test_mistakes_that_ask_no_app_cost_no_patience_and_are_noted_so_often_and_no_more(app, customer, link):
    for number in range(2 * TRIES):
        customer.fill(magento__store_url=("my shop", "")[number % 2]).finish()
    assert len(tries(app)) == TRIES
    with app.app_context(), transaction() as session:
        require_patience(session, session.get_one(Link, link.id), now())


def test_an_endpoint_hears_of_them_too(app, customer):
    with app.app_context(), transaction() as session:
        session.get_one(Endpoint, documented_id(Environment.production)).kinds = [LINK_FAILED]
    customer.fill(magento__store_url="my shop").finish()
    with app.app_context(), transaction() as session:
        body = json.loads(session.scalars(sa.select(Event.payload).where(Event.type == LINK_FAILED)).one())
    assert (body["fieldTitle"], body["reason"]) == ("Store URL", "mistyped")


def test_nothing_is_told_of_fields_that_nobody_pressed_for(app, customer, shop):
    customer.fill(magento__store_url=shop.url, magento__access_token=shop.token).check()
    assert tries(app) == []
