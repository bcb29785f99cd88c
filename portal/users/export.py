"""Everything that is stored about a user, in one JSON document, without any secret: long work, batch by batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.http.addresses import without_secrets
from portal.tasks.models import Task
from portal.tasks.rules import File, add_part, forget_tasks, long_work, start_task
from portal.users.models import User

EXPORT = "users.export"
BATCH = 500
# Columns that open something; what they hold is never given out.
SECRET = {"sealed", "token_hash", "key_hash"}
_ADDRESSES = {"url"}
# What both users and the vendor hang on: going down from there would leave the user.
_SHARED = {"integrations", "integration_versions", "workflows", "workflow_versions", "endpoints"}


def start_export(session: Session, user: User, *, title: str, asked_by: str, now: datetime) -> Task:
    """Write the document in the background."""
    file = File(f"user-{user.id}.json", "application/json")
    return start_task(session, EXPORT, title=title, asked_by=asked_by, now=now, params={"user": user.id}, file=file)


def forget_exports(session: Session, user_id: str) -> int:
    """Delete the exports of a user, also those that are under way; how many it were."""
    asked = sa.select(Task.id).where(Task.kind == EXPORT, Task.params["user"].as_string() == user_id)
    ids = session.scalars(asked).all()
    forget_tasks(session, ids)
    return len(ids)


@long_work(EXPORT, needs="member")
def export_batch(session: Session, task: Task, now: datetime) -> bool:
    """The next rows of the document: an object with a list of rows for each table that knows the user."""
    tables = _tables_of(task.params["user"])
    if task.total is None:
        task.total = sum(_count(session, table, condition) for table, condition in tables)
    place, after = task.cursor.get("table", 0), task.cursor.get("after")
    table, condition = tables[place]
    rows = _rows(session, table, condition, after)
    is_first, is_whole = after is None, len(rows) < BATCH
    opening = ("{" if place == 0 else ",") + f"\n{json.dumps(table.name)}: [" if is_first else ""
    written = (",\n" if not is_first and rows else "") + ",\n".join(_written(table, row) for row in rows)
    is_last = is_whole and place == len(tables) - 1
    add_part(session, task, opening + written + ("]" if is_whole else "") + ("\n}\n" if is_last else ""))
    task.done += len(rows)
    task.cursor = {"table": place + 1} if is_whole else {"table": place, "after": _key(table, rows[-1])}
    return not is_last


def _tables_of(user_id: str) -> list[tuple[sa.Table, sa.ColumnElement[bool]]]:
    """Each table with the condition for rows of the user, parents before their parts.

    They are found by following foreign keys (and columns that say `follows`) down from the table of users, so that a
    table that is added later is exported without a word.
    """
    users = User.metadata.tables["users"]
    found = {users.name: (users, users.c.id == user_id)}
    for table in User.metadata.sorted_tables:
        if table is users or table.name in _SHARED:
            continue
        ways = [
            column.in_(sa.select(found[parent][0].c.id).where(found[parent][1]))
            for column, parent in _parents(table)
            if parent in found and parent != table.name
        ]
        if ways:
            found[table.name] = (table, sa.or_(*ways))
    return list(found.values())


def _parents(table: sa.Table) -> list[tuple[sa.Column[Any], str]]:
    keys = [(key.parent, key.column.table.name) for key in sorted(table.foreign_keys, key=lambda k: k.parent.name)]
    return keys + [(column, column.info["follows"]) for column in table.columns if "follows" in column.info]


def _count(session: Session, table: sa.Table, condition: sa.ColumnElement[bool]) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(table).where(condition)) or 0


def _rows(
    session: Session, table: sa.Table, condition: sa.ColumnElement[bool], after: Sequence[Any] | None
) -> list[sa.RowMapping]:
    key = list(table.primary_key)
    statement = sa.select(table).where(condition).order_by(*key).limit(BATCH)
    if after is not None:
        values = (sa.literal(value, column.type) for value, column in zip(after, key, strict=True))
        statement = statement.where(sa.tuple_(*key) > sa.tuple_(*values))
    return list(session.execute(statement).mappings())


def _key(table: sa.Table, row: sa.RowMapping) -> list[Any]:
    return [row[column.name] for column in table.primary_key]


def _written(table: sa.Table, row: sa.RowMapping) -> str:
    # Bytes are sealed, whatever their column is called.
    is_open = {c.name for c in table.columns if c.name not in SECRET and not isinstance(c.type, sa.LargeBinary)}
    facts = {name: value for name, value in row.items() if name in is_open}
    # Where events go is the vendor's, and may open a door there.
    facts |= {name: without_secrets(facts[name]) for name in _ADDRESSES & facts.keys()}
    return json.dumps(facts, ensure_ascii=False, default=str)
