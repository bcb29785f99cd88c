"""Queries on the way of nearly every request: put into SQL once, then asked of the driver itself.

SQLAlchemy looks the SQL of a statement up anew each time and wraps what comes back: five times what SQLite itself
takes for a row by its key (docs/decisions, 0003). What goes in and what comes out is converted by the statement's own
types, so the rows are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.compiler import SQLCompiler

Convert = Callable[[Any], Any]


class Prepared:
    """A query for one engine; thread-safe. Its first row is what is asked for."""

    def __init__(self, engine: sa.Engine, statement: sa.Select[*tuple[Any, ...]]) -> None:
        self._engine, self._statement = engine, statement
        self._failure = engine.dialect.loaded_dbapi.Error
        compiled = statement.compile(dialect=engine.dialect)
        assert isinstance(compiled, SQLCompiler)
        self._sql, self._order = compiled.string, compiled.positiontup
        self._known = dict(compiled.params)
        binds = [(name, _into(engine.dialect, bind.type)) for bind, name in compiled.bind_names.items()]
        self._into = [(name, convert) for name, convert in binds if convert is not None]
        self._out_of = [_out_of(engine.dialect, column.type) for column in statement.selected_columns]

    def first(self, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The first row with these values put in, or None. Raises what SQLAlchemy raises."""
        facts = {**self._known, **values}
        for name, convert in self._into:
            facts[name] = convert(facts[name])
        given = facts if self._order is None else [facts[name] for name in self._order]
        try:
            with closing(self._engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
                cursor.execute(self._sql, given)
                row = cursor.fetchone()
        except self._failure:
            # The usual way says what is wrong, in words that are known, and gets rid of connections that broke off.
            with self._engine.connect() as usual:
                found = usual.execute(self._statement, values).first()
            return None if found is None else tuple(found)
        if row is None:
            return None
        columns = zip(row, self._out_of, strict=True)
        return tuple([value if convert is None else convert(value) for value, convert in columns])


def _into(dialect: sa.Dialect, kind: sa.types.TypeEngine[Any]) -> Convert | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _out_of(dialect: sa.Dialect, kind: sa.types.TypeEngine[Any]) -> Convert | None:
    return kind.dialect_impl(dialect).result_processor(dialect, None)
