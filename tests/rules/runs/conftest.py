"""A portal whose engine runs in this process, between a shop, a provider and the vendor's ingest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from portal.runs import failing
from tests.runtime import World, live_world, takes


@pytest.fixture(scope="module")
def live(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The engine runs, for all tests of a module; each test is inside its context."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(failing, "WAITS", (timedelta(milliseconds=50), timedelta(milliseconds=200)))
        with live_world(blank, tmp_path_factory.mktemp("live") / "instance") as made:
            yield made


@pytest.fixture
def world(live: World) -> World:
    """The same, with an ingest that behaves."""
    live.ingest.behave = takes
    live.ingest.next.clear()
    live.ingest.behaves_for.clear()
    return live
