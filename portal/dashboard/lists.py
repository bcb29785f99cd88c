"""What every list of the dashboard shares: a page by cursor, its order and its filters, all of them in the address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import sqlalchemy as sa
from flask import request
from sqlalchemy.orm import InstrumentedAttribute, Session

from portal.integrations.models import Integration
from portal.users.rules import search_users
from portal.web.paging import Among, page

Row = TypeVar("Row")
Choice = TypeVar("Choice", bound=StrEnum)
PAGE = 50
MOST_PEOPLE = 50  # whose links or installations one filter by name looks at
MOST_INTEGRATIONS = 200  # that a filter offers


@dataclass(frozen=True)
class Column:
    """A column that a list can be sorted by. Its two orders have names, which stand in the address.

    An index has to lead to the rows in this order, whatever filters the list has beside it.
    """

    by: InstrumentedAttribute[Any]
    up: str
    down: str
    is_first_down: bool = True  # whether `down` is what a first press asks for


@dataclass(frozen=True)
class Head:
    """How a column's head tells and changes the order. `sorted` is in the words of `aria-sort`."""

    url: str
    sorted: str | None


@dataclass(frozen=True)
class Listing(Generic[Row]):
    """One page of a list, and the addresses around it."""

    rows: Sequence[Row]
    next_url: str | None
    first_url: str | None
    order: str
    filters: dict[str, str]
    heads: dict[str, Head]

    @property
    def is_filtered(self) -> bool:
        """Whether a filter hides rows."""
        return any(self.filters.values())


def _url(query: dict[str, Any]) -> str:
    kept = urlencode({name: value for name, value in query.items() if value})
    return f"{request.path}?{kept}" if kept else request.path


def by_time(moment: InstrumentedAttribute[Any]) -> Column:
    """The column of a moment that has passed: the newest first, unless the address says `order=oldest`."""
    return Column(moment, up="oldest", down="newest")


def by_name(name: InstrumentedAttribute[str]) -> Column:
    """The column of a name: in the order of the alphabet, unless the address says `order=z-a`."""
    return Column(name, up="a-z", down="z-a", is_first_down=False)


def chosen(choices: type[Choice], name: str) -> Choice | None:
    """What a filter of the address says, if it is one of its choices."""
    given = request.args.get(name, "")
    return choices(given) if given in list(choices) else None


@dataclass(frozen=True)
class People:
    """The users whom a filter by name finds; `ids` is None when it asks for nobody in particular."""

    ids: list[str] | None
    are_more: bool = False

    def among(self, is_of: Callable[[str], sa.ColumnElement[bool]]) -> Among | None:
        """Those of the rows that are theirs; `is_of` is the condition that a row is one user's."""
        return None if self.ids is None else Among(self.ids, is_of)


def people_named(session: Session) -> People:
    """The users whose name begins with the address's `user`, as many as a list can look at."""
    name = request.args.get("user", "").strip()
    if not name:
        return People(None)
    found = search_users(session, name, MOST_PEOPLE + 1)
    return People([user.id for user in found[:MOST_PEOPLE]], len(found) > MOST_PEOPLE)


def named_integrations(session: Session) -> list[tuple[str, str]]:
    """(id, name) of the integrations that a filter offers."""
    offered = sa.select(Integration.id, Integration.name).order_by(Integration.name).limit(MOST_INTEGRATIONS)
    return [(one, name) for one, name in session.execute(offered)]


def listing(
    session: Session,
    statement: sa.Select[Row],
    *,
    then: InstrumentedAttribute[str],
    by: InstrumentedAttribute[Any] | None = None,
    columns: Sequence[Column] = (),
    filters: Sequence[str] = (),
    among: Among | None = None,
) -> Listing[Row]:
    """The page that the address asks for, in one of the orders of `columns`: the first one's unless it says another.

    With `by` alone, the order of that moment. With `among`, the rows of these owners alone.
    """
    columns = columns or [by_time(by)] if by is not None else columns
    first = columns[0].down if columns[0].is_first_down else columns[0].up
    order = request.args.get("order", "")
    column = next((one for one in columns if order in (one.up, one.down)), columns[0])
    order = order if order in (column.up, column.down) else first
    kept = {name: request.args.get(name, "") for name in filters}
    cursor = request.args.get("cursor")
    rows, after = page(
        session,
        statement,
        by=column.by,
        then=then,
        limit=PAGE,
        cursor=cursor,
        is_newest_first=order == column.down,
        among=among,
    )

    def url(order: str, **more: str | None) -> str:
        return _url({**kept, "order": "" if order == first else order, **more})

    return Listing(
        rows=rows,
        next_url=url(order, cursor=after) if after else None,
        first_url=url(order) if cursor else None,
        order="" if order == first else order,
        filters=kept,
        heads={one.by.key: Head(url(_pressed(one, order)), _sorted(one, order)) for one in columns},
    )


def _pressed(column: Column, order: str) -> str:
    """The order that a press on the column's head asks for."""
    if order in (column.up, column.down):
        return column.up if order == column.down else column.down
    return column.down if column.is_first_down else column.up


def _sorted(column: Column, order: str) -> str | None:
    return {column.up: "ascending", column.down: "descending"}.get(order)
