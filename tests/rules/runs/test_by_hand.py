"""What people do about a run: have the next attempt at once, or stop it for the sake of those behind it."""

from __future__ import annotations

import pytest

from portal.clock import now
from portal.db import transaction
from portal.runs.errors import NotWaiting, RunEnded
from portal.runs.models import Run
from portal.runs.stopping import stop_run, try_now
from tests.runtime import SEND, answers, takes, workflow


@pytest.fixture
def stuck(world):
    """A child whose first run waits a minute for its next attempt; the second one is behind it."""
    world.ingest.behave = answers(503, Retry_After="60")
    child = world.install(workflow("{manual: true}", SEND, name="By hand"))
    first, second = world.run(child, {"n": 1}), world.run(child, {"n": 2})
    world.reaches(first, "retrying")
    world.ingest.behave = takes
    return first, second


def by_hand(rule, run):
    with transaction() as session:
        rule(session, session.get_one(Run, run), now())


def test_a_run_has_its_next_attempt_at_once_and_the_order_is_kept(world, stuck):
    first, second = stuck
    by_hand(try_now, first)
    assert world.reaches(first, "succeeded").attempts == 0
    assert world.reaches(second, "succeeded").started_at > world.see(first).started_at
    with pytest.raises(NotWaiting):
        by_hand(try_now, first)


def test_a_run_is_stopped_and_the_one_behind_it_goes_on(world, stuck):
    first, second = stuck
    by_hand(stop_run, first)
    assert world.reaches(second, "succeeded")
    assert (world.see(first).state, world.see(first).sealed_memory) == ("cancelled", None)
    with pytest.raises(RunEnded):
        by_hand(stop_run, second)
