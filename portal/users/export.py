"""Everything that is stored about a user, in one document, without any secret."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.users.models import User

# Columns that open something; what they hold is never given out.
SECRET = {"sealed", "token_hash", "key_hash"}


# What both users and the vendor hang on: going down from there would leave the user.
_SHARED = {"integrations", "integration_versions", "workflows", "workflow_versions"}


def export_user(session: Session, user: User) -> dict[str, Any]:
    """Rows of every table that belong to the user, by table, with plain values.

    What belongs to a user is found by following foreign keys down from the table of users, so that a table that is
    added later is exported without a word.
    """
    users = User.metadata.tables["users"]
    document = {"users": _rows(session, users, users.c.id == user.id)}
    for table in User.metadata.sorted_tables:  # parents come before their parts
        keys = [
            key
            for key in table.foreign_keys
            if key.column.table.name in document and key.column.table.name not in _SHARED and table is not users
        ]
        if keys and table.name not in _SHARED:
            ids = [(key.parent, [row["id"] for row in document[key.column.table.name]]) for key in keys]
            document[table.name] = _rows(session, table, sa.or_(*(column.in_(known) for column, known in ids)))
    return document


def _rows(session: Session, table: sa.Table, condition: sa.ColumnElement[bool]) -> list[dict[str, Any]]:
    rows = session.execute(sa.select(table).where(condition)).mappings()
    return [{name: _plain(value) for name, value in row.items() if name not in SECRET} for row in rows]


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))
