"""Pages of a list: a cursor marks the place after the last row, so that each page costs the same, however deep."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

from portal.db import Moment
from portal.refusals import Refusal

Row = TypeVar("Row")
LONGEST_CURSOR = 2000  # a username of 255 characters fits


class BadCursor(Refusal):
    """The cursor isn't one that a page of this list gave."""

    status = 404
    title = "No such page"

    def message(self) -> str:
        return "There is no page at this cursor: use `nextCursor` as an earlier page gave it, or leave it out."


@dataclass(frozen=True)
class Among:
    """Some owners whose rows alone are wanted, however many each has; `is_of` is the condition that a row is one's."""

    owners: Sequence[str]
    is_of: Callable[[str], sa.ColumnElement[bool]]


def page(
    session: Session,
    statement: sa.Select[Row],
    *,
    by: InstrumentedAttribute[Any],
    then: InstrumentedAttribute[str],
    limit: int,
    cursor: str | None,
    is_newest_first: bool = False,
    among: Among | None = None,
) -> tuple[list[Row], str | None]:
    """At most `limit` rows in the order of (`by`, `then`), and the cursor of the next page if there is one.

    `by` is a moment or a text that every row has. An index on (environment, `by`, `then`) makes it as quick in a table
    of a million rows; for rows `among` those of some owners, one on (owner, `by`, `then`). Raises `BadCursor`.
    """
    place = sa.tuple_(by, then)
    if cursor is not None:
        place_of, row_id = _read(cursor, is_moment=isinstance(by.type, Moment))
        after = sa.tuple_(sa.literal(place_of, by.type), sa.literal(row_id, then.type))
        statement = statement.where(place < after if is_newest_first else place > after)
    if among is not None:
        wanted = sa.true() if statement.whereclause is None else statement.whereclause
        statement = statement.where(_of_owners(wanted, among, (by, then), limit + 1, is_newest_first))
    ordered = statement.order_by(*_in_order((by, then), is_newest_first)).limit(limit + 1)
    rows: list[Row] = list(session.scalars(ordered).unique())
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], _write(getattr(last, by.key), getattr(last, then.key))


def _of_owners(
    wanted: sa.ColumnElement[bool],
    among: Among,
    place: tuple[InstrumentedAttribute[Any], InstrumentedAttribute[str]],
    limit: int,
    is_newest_first: bool,
) -> sa.ColumnElement[bool]:
    """That a row is one of the owners', and among the first of them all."""
    if not among.owners:
        return sa.false()
    if len(among.owners) == 1:
        return among.is_of(among.owners[0])
    # The first rows of each. A database that is asked for all of them at once reads whatever they have, to sort it.
    by, then = place
    order = _in_order(place, is_newest_first)
    each = [
        sa.select(by.label("place"), then.label("row")).where(wanted, among.is_of(one)).order_by(*order).limit(limit)
        for one in among.owners
    ]
    some = sa.union_all(*(sa.select(one.subquery()) for one in each)).subquery()
    first = sa.select(some.c.row).order_by(*_in_order((some.c.place, some.c.row), is_newest_first)).limit(limit)
    return then.in_(first)


def _in_order(place: Sequence[Any], is_newest_first: bool) -> list[Any]:
    return [column.desc() if is_newest_first else column for column in place]


def _write(place: datetime | str, row_id: str) -> str:
    text = place.isoformat() if isinstance(place, datetime) else place
    return urlsafe_b64encode(json.dumps([text, row_id], ensure_ascii=False).encode()).decode().rstrip("=")


def _read(cursor: str, *, is_moment: bool) -> tuple[datetime | str, str]:
    try:
        place, row_id = json.loads(urlsafe_b64decode(cursor[:LONGEST_CURSOR] + "=" * (-len(cursor) % 4)))
        if not isinstance(place, str) or not isinstance(row_id, str) or "\0" in place + row_id:
            raise BadCursor
        (place + row_id).encode()  # raises for half a character, which no database takes
        return (_moment(place) if is_moment else place), row_id
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise BadCursor from None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise BadCursor
    return moment.astimezone(UTC)
