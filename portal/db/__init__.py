"""The database: engine, declarative base, the one way to open a transaction. No tables live here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from portal.settings import Settings

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Moment(sa.TypeDecorator[datetime]):
    """An aware UTC datetime, also on SQLite, which keeps no zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Store UTC; a naive datetime is a mistake of ours."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError("a naive datetime can't be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Give UTC back."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Base(DeclarativeBase):
    """Base of every table."""

    metadata = sa.MetaData(naming_convention=NAMING)
    type_annotation_map = {datetime: Moment, dict[str, Any]: sa.JSON, list[str]: sa.JSON}  # noqa: RUF012 - as SQLAlchemy wants it


BUSY_SECONDS = 5
_HOLDS = "portal.writes"


def _on_connect(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # sqlite3 then begins a transaction with BEGIN IMMEDIATE before the first write and none before a read:
    # writers queue up instead of failing halfway, readers never wait.
    connection.isolation_level = "IMMEDIATE"
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={BUSY_SECONDS}000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


class _WriteQueue:
    """One writer at a time among the threads of this process, in turn.

    SQLite itself lets writers sleep and try again, which is neither fair nor quick: under load some gave up after
    five seconds while others overtook them. Works on every connection of the engine, the background engine's too.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._lock = threading.Lock()
        event.listen(engine, "before_cursor_execute", self._enter)
        event.listen(engine, "checkin", self._leave)
        event.listen(engine, "close", self._leave)

    def _enter(self, connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        if statement[:6].upper() not in ("INSERT", "UPDATE", "DELETE"):
            return
        info = connection.connection.info
        if _HOLDS not in info:
            if not self._lock.acquire(timeout=BUSY_SECONDS):
                raise sa.exc.TimeoutError("the database is busy with other writers")
            info[_HOLDS] = True

    def _leave(self, _connection: object, record: ConnectionPoolEntry) -> None:
        if record.info.pop(_HOLDS, None):
            self._lock.release()


class Database:
    """The engine and the sessions of one application, kept as `app.extensions["database"]`."""

    def __init__(self, settings: Settings) -> None:
        is_sqlite = sa.make_url(settings.database_url).get_backend_name() == "sqlite"
        self.engine = sa.create_engine(
            settings.database_url,
            hide_parameters=True,  # a statement in an error must not carry its values into a log
            pool_size=16,
            max_overflow=48,
            pool_timeout=5,
            pool_use_lifo=True,
        )
        if is_sqlite:
            settings.instance.mkdir(parents=True, exist_ok=True)
            event.listen(self.engine, "connect", _on_connect)
            _WriteQueue(self.engine)
        self.sessions = sessionmaker(self.engine, expire_on_commit=False)


def engine() -> sa.Engine:
    """The current application's engine."""
    return database().engine


def database() -> Database:
    """The current application's database."""
    found: Database = current_app.extensions["database"]
    return found


def reading() -> sa.Connection:
    """A connection for one query that only reads, without the cost of a session; use it in a `with` block."""
    return database().engine.connect()


@contextmanager
def transaction() -> Iterator[Session]:
    """One use case, one transaction: leaving the block commits, raising rolls back."""
    with database().sessions.begin() as session:
        yield session
