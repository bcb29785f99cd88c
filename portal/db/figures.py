"""What SQLite is told about our indexes.

It chooses by figures that only ANALYZE gathers; without them it takes two environments for a narrow choice, and reads
a million rows where an index knows the one. Measured figures come late and differ from day to day, so we give it
those of a large portal once, with the tables: it then answers the same way from the first row on.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

ROWS, PART = 1_000_000, 500_000  # of a whole table, of a partial index
UNKNOWN = 8  # rows that share a value which isn't said to be coarser
# How many values there are of what many rows share.
VALUES = {
    "environment": 2,
    "origin": 2,
    "state": 3,
    "is_enabled": 2,
    "integration_id": 20,
    "version_id": 50,
    "workflow_id": 50,
    "actor": 20,
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
    listed = connection.execute(sa.text('SELECT name, "unique", partial FROM pragma_index_list(:t)'), {"t": table})
    for name, is_unique, is_partial in listed.all():
        columns = connection.execute(sa.text("SELECT name FROM pragma_index_info(:i) ORDER BY seqno"), {"i": name})
        figures = _figures([column for (column,) in columns], bool(is_unique), bool(is_partial))
        yield name, figures


def _figures(columns: list[str], is_unique: bool, is_partial: bool) -> list[int]:
    """Rows in the index, then how many share its first column, its first two, and so on."""
    left = PART if is_partial else ROWS
    figures = [left]
    for column in columns:
        left = max(1, left // VALUES[column]) if column in VALUES else min(left, UNKNOWN)
        figures.append(left)
    for number, column in enumerate(columns, 1):
        if column == "id" or (is_unique and number == len(columns)):
            figures[number:] = [1] * (len(figures) - number)
    return figures
