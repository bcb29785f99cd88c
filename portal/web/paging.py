"""Pages of a list: a cursor marks the place after the last row, so that each page costs the same, however deep."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

from portal.refusals import Refusal

Row = TypeVar("Row")
LONGEST_CURSOR = 200


class BadCursor(Refusal):
    """The cursor isn't one that a page of this list gave."""

    status = 404
    title = "No such page"

    def message(self) -> str:
        return "There is no page at this cursor: use `nextCursor` as an earlier page gave it, or leave it out."


def page(
    session: Session,
    statement: sa.Select[Row],
    *,
    by: InstrumentedAttribute[datetime],
    then: InstrumentedAttribute[str],
    limit: int,
    cursor: str | None,
    is_newest_first: bool = False,
) -> tuple[list[Row], str | None]:
    """At most `limit` rows in the order of (`by`, `then`), and the cursor of the next page if there is one.

    An index on (environment, `by`, `then`) makes it as quick in a table of a million rows. Raises `BadCursor`.
    """
    place = sa.tuple_(by, then)
    if cursor is not None:
        at, row_id = _read(cursor)
        after = sa.tuple_(sa.literal(at, by.type), sa.literal(row_id, then.type))
        statement = statement.where(place < after if is_newest_first else place > after)
    order: tuple[Any, ...] = (by.desc(), then.desc()) if is_newest_first else (by, then)
    rows: list[Row] = list(session.scalars(statement.order_by(*order).limit(limit + 1)).unique())
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], _write(getattr(last, by.key), getattr(last, then.key))


def _write(at: datetime, row_id: str) -> str:
    return urlsafe_b64encode(json.dumps([at.isoformat(), row_id]).encode()).decode().rstrip("=")


def _read(cursor: str) -> tuple[datetime, str]:
    try:
        at, row_id = json.loads(urlsafe_b64decode(cursor[:LONGEST_CURSOR] + "=" * (-len(cursor) % 4)))
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None or not isinstance(row_id, str):
            raise BadCursor
    except (ValueError, TypeError):
        raise BadCursor from None
    return moment, row_id
