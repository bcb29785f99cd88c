"""A portal whose engine runs in this process, between a shop, a provider and the vendor's ingest."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from portal.background.engine import running
from portal.runs import turns
from portal.sandbox.shop import Shop
from tests.runtime import Ingest, World, end, make_world, takes
from tests.stage import Provider


@pytest.fixture(scope="module")
def live(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The engine runs, for all tests of a module; each test is inside its context."""
    instance = tmp_path_factory.mktemp("live") / "instance"
    shutil.copytree(blank, instance)
    shop, provider, ingest = Shop(instance, 0), Provider(), Ingest()
    threading.Thread(target=shop.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    world = make_world(instance, shop, provider, ingest)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(turns, "WAITS", (timedelta(milliseconds=50), timedelta(milliseconds=200)))
        with running(world.app, world.app.config["PORTAL_SETTINGS"]), world.app.app_context():
            yield world
            provider.closing.set()
            ingest.closing.set()
    end(world)
    for server in (shop, provider, ingest):
        server.shutdown()
        server.server_close()


@pytest.fixture
def world(live: World) -> World:
    """The same, with an ingest that behaves."""
    live.ingest.behave = takes
    live.ingest.next.clear()
    live.ingest.behaves_for.clear()
    return live
