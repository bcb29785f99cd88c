"""A portal whose engine doesn't run, between a shop, a provider and the vendor's ingest; and one whose engine does."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.background.engine import running
from portal.sandbox.shop import Shop
from portal.triggers import durable
from tests.runtime import Ingest, World, end, make_world
from tests.stage import Provider


@pytest.fixture
def world(instance: Path, shop: Shop, provider: Provider) -> Iterator[World]:
    """The test is inside its context."""
    ingest = Ingest()
    made = make_world(instance, shop, provider, ingest)
    with made.app.app_context():
        yield made
    end(made)
    ingest.shutdown()
    ingest.server_close()


@pytest.fixture(scope="module")
def live(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The same, with the engine, for all tests of a module."""
    instance = tmp_path_factory.mktemp("live") / "instance"
    shutil.copytree(blank, instance)
    shop, provider, ingest = Shop(instance, 0), Provider(), Ingest()
    threading.Thread(target=shop.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    world = make_world(instance, shop, provider, ingest)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(durable, "WAITS", (durable.timedelta(milliseconds=200),) * 6)
        with running(world.app, world.app.config["PORTAL_SETTINGS"]), world.app.app_context():
            yield world
            provider.closing.set()
    end(world)
    for server in (shop, provider, ingest):
        server.shutdown()
        server.server_close()
