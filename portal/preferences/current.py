"""The settings as they hold now: the environment's, with what was saved on the dashboard.

They are asked for on every page, so they are kept in memory, and the table is read again at most once a second. That
is one query of a few rows a second for a whole process, and a change is seen everywhere within that second.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import sqlalchemy as sa
import structlog
from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from portal.preferences.errors import BadPreferences
from portal.preferences.models import Preference
from portal.preferences.rules import apply
from portal.settings import Settings

log = structlog.get_logger(__name__)

FRESH = 1.0  # seconds
PATIENCE = 5.0  # seconds, after the database didn't answer
_ALL = sa.select(Preference.name, Preference.value)


class Current:
    """The settings that hold now, in one process; thread-safe. `edition` counts their changes, for caches."""

    def __init__(self, engine: sa.Engine, defaults: Settings) -> None:
        self._engine, self.defaults = engine, defaults
        self._settings = defaults
        self._rows: dict[str, Any] = {}
        self._until = 0.0
        self._lock = threading.Lock()
        self.edition = 0

    def settings(self) -> Settings:
        """The settings; what other processes saved is seen within a second."""
        if time.monotonic() >= self._until and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._lock.release()
        return self._settings

    def refresh(self) -> Settings:
        """Look now: this process has just saved something."""
        with self._lock:
            self._look()
        return self._settings

    def _look(self) -> None:
        # Before the database is asked: whoever comes meanwhile goes on with what is known.
        self._until = time.monotonic() + FRESH
        try:
            with self._engine.connect() as connection:
                rows = {name: value for name, value in connection.execute(_ALL)}  # noqa: C416 - typed rows, not tuples
        except SQLAlchemyError:
            self._until = time.monotonic() + PATIENCE  # not set up yet, or down: what is known still holds
            return
        if rows == self._rows:
            return
        self._settings, self._rows = self._with(rows), rows
        self.edition += 1

    def _with(self, rows: dict[str, Any]) -> Settings:
        settings = self.defaults
        for name, value in rows.items():
            try:
                settings = apply(settings, {name: value})
            except BadPreferences:  # an older version may have stored what can't be any more
                log.warning("a saved setting can’t be used", name=name)
        return settings


def current() -> Current:
    """The current application's settings."""
    found: Current = current_app.extensions["settings"]
    return found


def current_settings() -> Settings:
    """The settings of the current application as they hold now; its configuration has only the environment's."""
    return current().settings()
