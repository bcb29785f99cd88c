"""A portal whose engine doesn't run, between a shop, a provider and the vendor's ingest; and one whose engine does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.sandbox.shop import Shop
from portal.triggers import durable
from tests.runtime import World, live_world, quiet_world
from tests.stage import Provider


@pytest.fixture
def world(instance: Path, shop: Shop, provider: Provider) -> Iterator[World]:
    """The test is inside its context."""
    with quiet_world(instance, shop, provider) as made:
        yield made


@pytest.fixture(scope="module")
def live(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The same, with the engine, for all tests of a module."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(durable, "WAITS", (durable.timedelta(milliseconds=200),) * 6)
        with live_world(blank, tmp_path_factory.mktemp("live") / "instance") as made:
            yield made
