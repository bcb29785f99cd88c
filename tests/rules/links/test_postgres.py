"""Links that replace one another on PostgreSQL, where transactions do run beside each other."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.db import transaction
from portal.environments import Environment
from portal.links.models import Link, LinkOrigin, LinkState
from portal.links.replacing import replace_link
from portal.links.rules import create_link, find_by_id
from portal.users.rules import create_user
from tests.postgres import at_once, needs_postgres

pytestmark = needs_postgres


@pytest.fixture
def world(postgres_world):
    return postgres_world


def test_of_links_that_replace_the_same_one_at_once_one_can_be_used(world):
    keys = world.app.extensions["keys"].link_keys
    with transaction(Environment.production) as session:
        user = create_user(session, "ada@shop.example", now=now())
        old, _ = create_link(
            session, keys, user=user, integration=None, app="magento", origin=LinkOrigin.connection, now=now()
        )

    def replace():
        with transaction(Environment.production) as session:
            return replace_link(session, keys, find_by_id(session, old.id), now()).link.id

    for turn in range(1, 4):
        made = at_once(world, *[replace] * 6)
        with transaction() as session:
            links = session.scalars(sa.select(Link)).all()
        assert len(links) == 1 + 6 * turn
        usable = [link.id for link in links if link.state(now()) is LinkState.created]
        assert len(usable) == 1
        assert usable[0] in made
