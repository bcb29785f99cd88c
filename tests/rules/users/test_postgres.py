"""Usernames on PostgreSQL: found in whatever capitals there as well, by an index."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from portal.clock import now
from portal.db import transaction
from portal.environments import Environment
from portal.users.models import User
from portal.users.rules import begins_with, create_user, find_user, search_users
from tests.postgres import needs_postgres

pytestmark = needs_postgres


@pytest.fixture
def world(postgres_world):
    return postgres_world


def test_a_user_is_found_in_whatever_capitals_by_an_index(world):
    names = ("Bob@Shop.example", "bob@other.example", "ÉMILE", "straße")
    with transaction(Environment.production) as session:
        for name in names:
            create_user(session, name, now=now())
        for name in names:
            assert [find_user(session, typed).username for typed in (name, name.lower())] == [name, name]
        assert [user.username for user in search_users(session, "BOB", 8)] == ["bob@other.example", "Bob@Shop.example"]
        question = sa.select(User.id).where(User.environment == "production", begins_with("bob"))
        ordered = question.order_by(User.small_username, User.id).limit(8)
        text = ordered.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
        session.execute(sa.text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(session.scalars(sa.text(f"EXPLAIN {text}")))
    assert "ix_users_environment_small_username_id" in plan
    assert "Sort" not in plan
