"""A portal with nothing in it, to try the engine in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from portal import create_app
from portal.background import migrate
from portal.db import engine
from portal.db.migrating import upgrade
from portal.settings import read_settings


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    """A portal with its tables; the test is inside its context."""
    made = create_app(read_settings(instance=tmp_path, engine_polling=0.01))
    with made.app_context():
        upgrade(engine())
        migrate(engine())
        yield made
        engine().dispose()
