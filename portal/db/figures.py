"""What SQLite is told about our indexes.

It chooses by figures that only ANALYZE gathers; without them it takes two environments for a narrow choice, and reads
a million rows where an index knows the one. Measured figures come late and differ from day to day, so we give it
those of a large portal once, with the tables: it then answers the same way from the first row on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import sqlalchemy as sa

ROWS, PART = 1_000_000, 500_000  # of a whole table, of a partial index
UNKNOWN = 8  # rows that share a value which isn't said to be coarser
NULLABLE = 10  # values of a column that may be NULL, which most rows then are
# How many values there are of what many rows share.
VALUES = {
    "environment": 2,
    "origin": 2,
    "state": 3,
    "is_enabled": 2,
    "integration_id": 20,
    "version_id": 50,
    "workflow_id": 50,
    "app": 10,
    "actor": 20,
    "action": 30,
    "type": 10,
}


def tell_sqlite(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Write the figures of every index, in the place of whatever is known."""
    connection.exec_driver_sql("ANALYZE sqlite_schema")  # makes the table of figures
    inspector = sa.inspect(connection)
    for table in set(metadata.tables) & set(inspector.get_table_names()):
        connection.execute(sa.text("DELETE FROM sqlite_stat1 WHERE tbl = :tbl"), {"tbl": table})
        for name, figures in _indexes(connection, table):
            connection.execute(
                sa.text("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (:tbl, :idx, :stat)"),
                {"tbl": table, "idx": name, "stat": " ".join(map(str, figures))},
            )
    connection.exec_driver_sql("ANALYZE sqlite_schema")  # takes them up


def _indexes(connection: sa.Connection, table: str) -> Iterator[tuple[str, list[int]]]:
    columns = connection.execute(sa.text('SELECT name, "notnull" FROM pragma_table_info(:t)'), {"t": table})
    facts = columns.all()
    required = {name for name, is_required in facts if is_required}
    values = {name: NULLABLE for name, _ in facts if name not in required} | VALUES
    listed = connection.execute(sa.text('SELECT name, "unique", partial FROM pragma_index_list(:t)'), {"t": table})
    for name, is_unique, is_partial in listed.all():
        named = connection.execute(sa.text("SELECT name FROM pragma_index_info(:i) ORDER BY seqno"), {"i": name})
        rows = PART if is_partial else ROWS
        indexed = [column for (column,) in named]
        has_nulls = any(column not in required for column in indexed)  # and of those any number is unique
        yield name, _figures(indexed, values, rows, bool(is_unique) and not has_nulls)


def _figures(columns: list[str], values: Mapping[str, int], rows: int, is_unique: bool) -> list[int]:
    """Rows in the index, then how many share its first column, its first two, and so on."""
    figures = [rows]
    for number, column in enumerate(columns, 1):
        if column == "id" or (is_unique and number == len(columns)) or figures[-1] == 1:
            figures.append(1)
        else:
            figures.append(max(1, figures[-1] // values[column]) if column in values else min(figures[-1], UNKNOWN))
    return figures
