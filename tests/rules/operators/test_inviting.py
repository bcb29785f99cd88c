"""Who is invited as what, and that somebody always keeps the role that gives roles."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.clock import now
from portal.db import transaction
from portal.operators.errors import LastAdmin
from portal.operators.models import Operator, Role
from portal.operators.rules import invite, remove_operator

ADA, BOB = "ada@vendor.example", "bob@vendor.example"


@pytest.fixture
def session(app) -> Iterator[Session]:
    with app.app_context(), transaction() as session:
        yield session


def role_of(session: Session, email: str) -> Role | None:
    return session.scalar(sa.select(Operator.role).where(Operator.email == email))


def test_a_newcomer_is_a_member_unless_a_role_is_said(session):
    assert invite(session, ADA, None, now())[0].role is Role.member
    assert invite(session, BOB, Role.viewer, now())[0].role is Role.viewer


@pytest.mark.parametrize("role", Role)
def test_a_new_sign_in_link_leaves_the_role_as_it_is(session, role):
    invite(session, BOB, Role.admin, now())
    invite(session, ADA, role, now())
    invite(session, f" {ADA.upper()} ", None, now())
    assert role_of(session, ADA) is role


def test_a_role_that_is_said_changes_it(session):
    invite(session, BOB, Role.admin, now())
    for role in (Role.admin, Role.viewer, Role.member):
        invite(session, ADA, role, now())
        assert role_of(session, ADA) is role


@pytest.mark.parametrize("role", [Role.member, Role.viewer])
def test_the_last_administrator_keeps_the_role_and_reads_what_to_do(session, role):
    invite(session, ADA, Role.admin, now())
    invite(session, BOB, Role.member, now())
    with pytest.raises(LastAdmin, match="flask operator invite EMAIL --role admin"):
        invite(session, ADA, role, now())
    assert role_of(session, ADA) is Role.admin
    invite(session, BOB, Role.admin, now())
    invite(session, ADA, role, now())
    assert role_of(session, ADA) is role


def test_the_last_administrator_can_not_be_removed(session):
    invite(session, ADA, Role.admin, now())
    invite(session, BOB, Role.viewer, now())
    with pytest.raises(LastAdmin):
        remove_operator(session, ADA)
    remove_operator(session, BOB)
    assert role_of(session, ADA) is Role.admin
    assert role_of(session, BOB) is None
    invite(session, BOB, Role.admin, now())
    remove_operator(session, ADA)
    assert role_of(session, ADA) is None
