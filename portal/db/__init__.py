"""The database: engine, declarative base, the one way to open a transaction. No tables live here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import (
    DeclarativeBase,
    LoaderCriteriaOption,
    Mapped,
    ORMExecuteState,
    Session,
    UOWTransaction,
    mapped_column,
    sessionmaker,
    with_loader_criteria,
)
from sqlalchemy.pool import ConnectionPoolEntry

from portal.db.prepared import Prepared
from portal.environments import Environment
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


class InEnvironment:
    """Mixin of every table whose rows belong to one environment and are never seen from the other.

    A session that `transaction(environment)` opened sees, changes and deletes only rows of its environment, whatever
    the statement says, and stamps what it adds. This is the one place that decides; no rule or view repeats it.
    """

    environment: Mapped[Environment] = mapped_column()


def partial_index(name: str, condition: str, *columns: str) -> sa.Index:
    """An index over the rows that meet `condition` alone; a query has to say it in the same words to be answered."""
    where = sa.text(condition)
    return sa.Index(name, *columns, sqlite_where=where, postgresql_where=where)


_SCOPE = "environment"
_SETTINGS = "settings"


def settings_of(session: Session) -> Settings:
    """The settings as they hold now of the portal that the session belongs to, for rules, which know no Flask."""
    read: Callable[[], Settings] = session.info[_SETTINGS]
    return read()


def _only_own(state: ORMExecuteState) -> None:
    environment = state.session.info.get(_SCOPE)
    if environment is None or state.is_insert or state.is_column_load:
        return
    state.statement = state.statement.options(_criteria(environment))


@cache
def _criteria(environment: Environment) -> LoaderCriteriaOption:
    # Made once for each: looking through the lambda anew costs as much as a small query.
    return with_loader_criteria(InEnvironment, lambda table: table.environment == environment, include_aliases=True)


def _stamp_own(session: Session, _context: UOWTransaction, _instances: object) -> None:
    environment = session.info.get(_SCOPE)
    if environment is None:
        return
    for row in session.new:
        if isinstance(row, InEnvironment):
            if row.environment not in (None, environment):
                raise TypeError("a row of one environment can't be made from the other")
            row.environment = environment


BUSY_SECONDS = 5
_HOLDS = "portal.writes"


def _on_connect(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # sqlite3 then begins a transaction with BEGIN IMMEDIATE before the first write and none before a read:
    # writers queue up instead of failing halfway, readers never wait.
    connection.isolation_level = "IMMEDIATE"
    cursor = connection.cursor()
    pragmas = ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={BUSY_SECONDS}000", "foreign_keys=ON")
    # What is deleted is written over: it has to be gone. FAST would leave it in the pages that become free.
    # 8 MB hold what a page of fifty rows looks up amid a million; with the usual two, each page reads it anew.
    for pragma in (*pragmas, "secure_delete=ON", "cache_size=-8000"):
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

    def __init__(self, settings: Settings, **known: object) -> None:
        """`known` is what rules find in `session.info` beside the settings."""
        # What rules read; the portal puts in its place what also knows the changes made on the dashboard.
        self.settings: Callable[[], Settings] = lambda: settings
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
        info: dict[str, object] = {_SETTINGS: lambda: self.settings(), **known}
        self.sessions = sessionmaker(self.engine, expire_on_commit=False, info=info)
        event.listen(self.sessions, "do_orm_execute", _only_own)
        event.listen(self.sessions, "before_flush", _stamp_own)
        self._prepared: dict[sa.Select[*tuple[Any, ...]], Prepared] = {}

    def ask(self, statement: sa.Select[*tuple[Any, ...]], values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The first row of a query that is on the way of nearly every request (see `prepared`), or None.

        It is put into SQL once, so the statement is one that stays. No environment is kept apart here.
        """
        if statement not in self._prepared:
            self._prepared[statement] = Prepared(self.engine, statement)
        return self._prepared[statement].first(values)


def is_alone_in_writing(session: Session) -> bool:
    """Whether nobody else writes from this transaction's first change to its end: on SQLite, not on PostgreSQL."""
    return session.get_bind().dialect.name == "sqlite"


def insert_new(session: Session, table: type[Base], values: Mapping[str, Any]) -> bool:
    """Add a row unless one with the same key is there; whether it was added. Safe against others who add the same."""
    insert = _insert_of(session)
    # Not told by the count of rows: after an INSERT, psycopg's is not kept.
    statement = insert(table).values(**values).on_conflict_do_nothing().returning(sa.literal(1))
    return session.execute(statement).first() is not None


def changes_one(session: Session, statement: sa.Update, values: Mapping[str, Any] | None = None) -> bool:
    """Whether an UPDATE changes its one row. Rows that the session has read stay as they were."""
    done = session.execute(statement, values or {}, execution_options={"synchronize_session": False})
    return done.rowcount == 1  # type: ignore[attr-defined,no-any-return]


def count_one(session: Session, table: type[Base], key: Mapping[str, Any], counter: str) -> None:
    """Add one to the `counter` of the row with this key, in one statement, and make the row if there is none.

    Whoever counts at the same moment is counted as well; on PostgreSQL they wait until this transaction ends.
    """
    more = {counter: getattr(table, counter) + 1}
    statement = _insert_of(session)(table).values(**key, **{counter: 1})
    session.execute(statement.on_conflict_do_update(index_elements=list(key), set_=more))


def _insert_of(session: Session) -> Callable[..., postgresql.Insert | sqlite.Insert]:
    return postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert


MOST_REWRITTEN = 256_000_000  # bytes of a database that is written anew while writers wait: about a second


def wipe_deleted(*, is_thorough: bool = False) -> bool:
    """Take what was deleted out of SQLite's files, too; whether that could be done at once.

    `secure_delete` writes deleted rows over, but not their copies: in the log of writes, which is emptied here, and in
    pages that they were moved from, of which a thorough wiping rids a database that isn't larger than
    `MOST_REWRITTEN`. It can't be done while others read or write for long. PostgreSQL's vacuum does it by and by.
    """
    with engine().connect() as connection:
        if connection.dialect.name != "sqlite":
            return True
        try:
            if is_thorough and _size(connection) <= MOST_REWRITTEN:
                connection.exec_driver_sql("VACUUM")
            connection.exec_driver_sql("PRAGMA busy_timeout=1000")  # writers wait meanwhile, and must not give up
            return bool(connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0] == 0)
        except sa.exc.OperationalError:
            return False
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_SECONDS}000")


def _size(connection: sa.Connection) -> int:
    pages, each = (connection.exec_driver_sql(f"PRAGMA {what}").scalar_one() for what in ("page_count", "page_size"))
    return int(pages * each)


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
def transaction(environment: Environment | None = None) -> Iterator[Session]:
    """One use case, one transaction: leaving the block commits, raising rolls back.

    With an `environment` only its rows are there (see `InEnvironment`); without one the session sees both, which is
    for what no customer or vendor asks for: chores, deliveries, counting, looking up a link by its token.
    """
    with database().sessions.begin() as session:
        if environment is not None:
            session.info[_SCOPE] = environment
        yield session
