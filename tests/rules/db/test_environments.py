"""What belongs to one environment is not there in the other, by construction: whatever a statement says."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased, joinedload

from portal.clock import now
from portal.db import Base, InEnvironment, transaction
from portal.environments import Environment
from portal.links.models import Link
from portal.tables import OURS
from portal.users.models import User
from portal.users.rules import UnknownUser, create_user, find_user

DEVELOPMENT, PRODUCTION = Environment.development, Environment.production

# Tables without an environment of their own: what both share, and parts that are reached through their whole alone.
SHARED = {"integrations", "integration_versions", "workflows", "workflow_versions"}
SHARED |= {"operators", "invitations", "operator_sessions", "audit_entries", "passkeys", "passkey_challenges"}
SHARED |= {"preferences", "logos", "nodes"}
PARTS = {
    "failed_tries": "links",
    "installation_credentials": "installations",
    "run_steps": "runs",
    "seen_items": "child_workflows",
    "watches": "child_workflows",
    "hooks": "child_workflows",
    "delivery_attempts": "deliveries",
    "task_parts": "tasks",
}


@pytest.fixture
def two(app):
    """A user of the same name in each environment; their ids."""
    ids = {}
    with app.app_context():
        for environment in Environment:
            with transaction(environment) as session:
                ids[environment] = create_user(session, "ada@shop.example", now=now()).id
        yield ids


def seen(session: Session) -> set[Environment]:
    return set(session.scalars(sa.select(User.environment)))


def test_every_table_has_an_environment_is_shared_or_is_a_part():
    scoped = {m.class_.__tablename__ for m in Base.registry.mappers if issubclass(m.class_, InEnvironment)}
    assert scoped | SHARED | set(PARTS) == OURS
    assert not scoped & (SHARED | set(PARTS))
    for part, whole in PARTS.items():
        keys = Base.metadata.tables[part].foreign_keys
        assert whole in {key.column.table.name for key in keys}


@pytest.mark.parametrize("environment", Environment)
def test_every_kind_of_reading_sees_only_its_own(two, environment):
    other = next(e for e in Environment if e is not environment)
    named = aliased(User)
    with transaction(environment) as session:
        assert seen(session) == {environment}
        assert session.get(User, two[other]) is None
        assert session.scalar(sa.select(sa.func.count()).select_from(User)) == 1
        assert session.scalars(sa.select(named.id)).all() == [two[environment]]
        assert session.scalars(sa.select(User).where(User.id == two[other])).all() == []
        assert session.scalar(sa.select(sa.exists().where(User.id == two[other]))) is False
        assert session.scalars(sa.select(User.id).where(User.id.in_(sa.select(User.id)))).all() == [two[environment]]
        assert find_user(session, "ada@shop.example").id == two[environment]
        with pytest.raises(UnknownUser):
            find_user(session, two[other])


def test_changing_and_deleting_touch_only_their_own(two):
    with transaction(DEVELOPMENT) as session:
        session.execute(sa.update(User).values(full_name="changed"))
    with transaction(DEVELOPMENT) as session:
        session.execute(sa.delete(User))
    with transaction() as session:
        (left,) = session.scalars(sa.select(User))
        assert (left.environment, left.full_name) == (PRODUCTION, None)


def test_what_is_added_is_stamped_and_can_not_be_smuggled(two):
    with transaction(DEVELOPMENT) as session:
        assert create_user(session, "new", now=now()).environment is DEVELOPMENT
    with transaction(DEVELOPMENT) as session:
        session.add(User(environment=PRODUCTION, username="smuggled"))
        with pytest.raises(TypeError):
            session.flush()
        session.expunge_all()


def test_relationships_and_joins_are_held_as_well(app, two, make_link):
    made = make_link(username="ada@shop.example")
    with app.app_context():
        with transaction(DEVELOPMENT) as session:
            assert session.get(Link, made.id) is None
            assert session.execute(sa.select(Link, User).join(User)).all() == []
        with transaction(PRODUCTION) as session:
            link = session.scalar(sa.select(Link).options(joinedload(Link.user)))
            assert link.user.id == two[PRODUCTION]


def test_without_an_environment_both_are_there(two):
    with transaction() as session:
        assert seen(session) == set(Environment)
