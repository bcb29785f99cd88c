"""Usernames keep the capitals that they were given, and are found in whatever capitals they are typed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from portal import create_app
from portal.clock import now
from portal.db import transaction
from portal.environments import Environment
from portal.settings import read_settings
from portal.users.rules import (
    SeveralUsers,
    UnknownUser,
    UsernameTaken,
    create_user,
    find_user,
    search_users,
    spelling_of,
)
from tests.stage import close


@pytest.fixture
def session(app) -> Iterator[Session]:
    with app.app_context(), transaction(Environment.production) as session:
        yield session


def make(session: Session, *names: str) -> None:
    for name in names:
        create_user(session, name, now=now())


def found(session: Session, text: str, limit: int = 8) -> list[str]:
    return [user.username for user in search_users(session, text, limit)]


@pytest.mark.parametrize("kept", ["bob@shop.example", "Bob@Shop.example", "BOB@SHOP.EXAMPLE", "Zoë", "ÉMILE", "Émile"])
@pytest.mark.parametrize("typed", [str, str.lower, str.upper, str.title, str.swapcase])
def test_a_user_is_found_in_whatever_capitals_and_keeps_their_own(session, kept, typed):
    make(session, kept, "bobby@shop.example")
    assert find_user(session, typed(kept)).username == kept
    assert kept in found(session, typed(kept)[:3])


def test_who_has_the_very_name_comes_before_others(session):
    make(session, "bob", "Bob", "BOB")
    assert [find_user(session, name).username for name in ("bob", "Bob", "BOB")] == ["bob", "Bob", "BOB"]
    assert find_user(session, find_user(session, "Bob").id).username == "Bob"
    with pytest.raises(SeveralUsers, match="Type it exactly as it is written"):
        find_user(session, "bOB")


def test_two_whose_names_differ_in_capitals_alone_may_exist(session):
    make(session, "bob", "Bob")
    with pytest.raises(UsernameTaken):
        make(session, "Bob")


@pytest.mark.parametrize(
    ("kept", "typed"), [("strasse", "straße"), ("straße", "STRASSE"), ("ilker", "ılker"), ("k", "\u212a")]
)
def test_a_letter_is_no_capital_of_another_one(session, kept, typed):
    make(session, kept)
    with pytest.raises(UnknownUser):
        find_user(session, typed)


def test_those_who_are_found_are_in_the_order_of_the_alphabet_whatever_their_capitals(session):
    make(session, "ada3", "Ada1", "ADA4", "ada2", "bob")
    assert found(session, "aDa") == ["Ada1", "ada2", "ada3", "ADA4"]
    assert found(session, "a", limit=2) == ["Ada1", "ada2"]


def test_the_other_environment_s_users_are_not_found(session, app):
    with transaction(Environment.development) as other:
        make(other, "Bob")
    with pytest.raises(UnknownUser):
        find_user(session, "bob")
    assert found(session, "b") == []


@given(st.text(max_size=300))
def test_whatever_is_typed_is_looked_for_and_no_fault(app_at_hand, text):
    with app_at_hand.app_context(), transaction(Environment.production) as session:
        assert found(session, text) == []
        assert isinstance(spelling_of(session, text), str)
        with pytest.raises(UnknownUser):
            find_user(session, text)


@pytest.fixture(scope="module")
def app_at_hand(tmp_path_factory, blank):
    """A portal without users."""
    instance = tmp_path_factory.mktemp("users") / "instance"
    shutil.copytree(blank, instance)
    made = create_app(read_settings(instance=instance))
    yield made
    close(made)
