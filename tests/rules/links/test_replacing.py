"""Links that replace one another, also when many do it at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import sqlalchemy as sa

from portal.clock import now
from portal.db import transaction
from portal.environments import Environment
from portal.links.models import Link, LinkState
from portal.links.replacing import replace_link
from portal.links.rules import find_by_id


def replace(app, link_id):
    with app.app_context(), transaction(Environment.production) as session:
        return replace_link(session, app.extensions["keys"].link_keys, find_by_id(session, link_id), now()).link.id


def usable(app):
    with app.app_context(), transaction() as session:
        return [one.id for one in session.scalars(sa.select(Link)) if one.state(now()) is LinkState.created]


def test_of_links_that_replace_the_same_one_at_once_one_can_be_used(app, link):
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: replace(app, link.id), range(12)))
    assert len(set(made)) == 12
    left = usable(app)
    assert len(left) == 1
    assert left[0] in made


def test_a_replacement_that_was_forgotten_is_not_looked_for(app, link):
    fresh = replace(app, link.id)
    with app.app_context(), transaction() as session:
        session.execute(sa.delete(Link).where(Link.id == fresh))
    assert [replace(app, link.id)] == usable(app)


def test_steps_are_told_in_the_order_in_which_they_came(app, link, row):
    at = now() - timedelta(hours=3)
    with app.app_context(), transaction() as session:
        one = session.get_one(Link, link.id)
        one.created_at, one.opened_at, one.verified_at = at, at + timedelta(hours=1), at + timedelta(hours=1)
        one.passed_on_at = at + timedelta(hours=2)
    assert [step for step, _ in row(link).steps] == ["made", "opened", "connected", "handed_on"]
