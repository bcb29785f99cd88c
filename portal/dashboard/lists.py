"""What every list of the dashboard shares: a page by cursor, its order and its filters, all of them in the address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import sqlalchemy as sa
from flask import request
from sqlalchemy.orm import InstrumentedAttribute, Session

from portal.web.paging import page

Row = TypeVar("Row")
PAGE = 50


@dataclass(frozen=True)
class Listing(Generic[Row]):
    """One page of a list, and the addresses around it."""

    rows: Sequence[Row]
    next_url: str | None
    first_url: str | None
    order: str
    filters: dict[str, str]

    @property
    def other_order_url(self) -> str:
        """The same list the other way round."""
        return _url({**self.filters, "order": "oldest" if self.order == "newest" else "newest"})

    @property
    def is_filtered(self) -> bool:
        """Whether a filter hides rows."""
        return any(self.filters.values())


def _url(query: dict[str, Any]) -> str:
    return f"{request.path}?{urlencode({k: v for k, v in query.items() if v})}"


def listing(
    session: Session,
    statement: sa.Select[Row],
    *,
    by: InstrumentedAttribute[Any],
    then: InstrumentedAttribute[str],
    filters: Sequence[str] = (),
) -> Listing[Row]:
    """The page that the address asks for, newest first unless it says `order=oldest`."""
    order = "oldest" if request.args.get("order") == "oldest" else "newest"
    kept = {name: request.args.get(name, "") for name in filters}
    cursor = request.args.get("cursor")
    rows, after = page(
        session, statement, by=by, then=then, limit=PAGE, cursor=cursor, is_newest_first=order == "newest"
    )
    query = {**kept, "order": "" if order == "newest" else order}
    return Listing(
        rows=rows,
        next_url=_url({**query, "cursor": after}) if after else None,
        first_url=_url(query) if cursor else None,
        order=order,
        filters=kept,
    )
