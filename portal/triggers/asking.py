"""Asking an app for a child: which request it is, what came of it in words. Knows no database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

import jmespath

from portal.catalogue import App, HostNotAllowed, build_request
from portal.catalogue.triggers import Cursor, Poll
from portal.http import Answer, NoAnswer, NotJSON, Outbound
from portal.runs.executing import judge, silence_of
from portal.runs.outcomes import Refused, TryAgain

CEILING = 15.0
LARGEST = 4_000_000  # bytes of a page
MOST_TIMES = 10  # that an app may answer with more items than it was asked for
LONGEST = 64  # characters of a cursor value


@dataclass(frozen=True)
class Page:
    """Items of one page with their keys and cursor values, and the moment that the app's clock showed (or None).

    `read_at` is that moment, or by our own clock.
    """

    items: list[tuple[str, str | None, Any]]
    is_full: bool
    app_clock: datetime | None
    read_at: datetime


class CursorLost(Exception):
    """The app says that it doesn't know the cursor."""


class NotAsked(Exception):
    """No page came, and why.

    `is_refused`: because of the credential; `wait`: how long to; `is_try`: whether the app was asked at all.
    """

    def __init__(
        self, because: str, *, is_refused: bool = False, wait: timedelta | None = None, is_try: bool = True
    ) -> None:
        super().__init__(because)
        self.is_refused, self.wait, self.is_try = is_refused, wait, is_try


@dataclass
class Walk:
    """Where a poll reads: what the next request asks for. See `Watch` for the fields."""

    start: str | None
    since: str | None
    walk_from: str | None
    page: int
    seen_page: list[str] = field(default_factory=list)

    def bound(self, cursor: Cursor) -> str:
        """The value that the next request begins at."""
        if self.walk_from is not None:
            return self.walk_from
        if self.since is None:
            return self.start or ""
        begin = back(self.since, cursor)
        return begin if self.start is None or not is_before(begin, self.start, cursor) else self.start

    def take(self, page: Page, cursor: Cursor) -> bool:
        """Go on behind this page; whether the walk goes on (else the next poll begins a new one)."""
        keys, bound = [key for key, _, _ in page.items], self.bound(cursor)
        values = [value for _, value, _ in page.items if value is not None and is_readable(value, cursor)]
        largest = max(values, key=lambda value: sortable(value, cursor), default=None)
        if largest is not None and (self.since is None or is_before(self.since, largest, cursor)):
            self.since = largest
        # An item from the future, or a clock that was put back, must not hide what comes until then.
        if cursor.kind == "time" and self.since is not None:
            latest = write(page.read_at, cursor)
            self.since = latest if is_before(latest, self.since, cursor) else self.since
        # Some apps give their last page again when asked for one behind it.
        if not page.is_full or (keys == self.seen_page and self.page > 1):
            self.walk_from, self.page, self.seen_page = None, 1, []
            return False
        if largest is not None and is_before(bound, largest, cursor):
            self.walk_from, self.page = largest, 1
        else:  # a whole page at the same moment
            self.walk_from, self.page = bound, self.page + 1
        self.seen_page = keys
        return True


def sortable(value: str, cursor: Cursor) -> float:
    """A cursor value as a number that can be compared; what can't be read comes first."""
    try:
        if cursor.kind == "number":
            return float(value)
        return datetime.strptime(value, cursor.format).replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return float("-inf")


def is_readable(value: str, cursor: Cursor) -> bool:
    """Whether a cursor value can be compared, and kept."""
    return len(value) <= LONGEST and isfinite(sortable(value, cursor))


def is_before(value: str, other: str, cursor: Cursor) -> bool:
    """Whether one cursor value is smaller than another."""
    return sortable(value, cursor) < sortable(other, cursor)


def back(value: str, cursor: Cursor) -> str:
    """A cursor value, taken back by the overlap; numbers are taken as they are."""
    if cursor.kind == "number":
        return value
    moment = sortable(value, cursor)
    return value if moment == float("-inf") else write(datetime.fromtimestamp(moment, UTC) - cursor.overlap, cursor)


def write(moment: datetime, cursor: Cursor) -> str:
    """A moment as the app writes it."""
    return moment.astimezone(UTC).strftime(cursor.format)


def ask(
    outbound: Outbound, app: App, poll: Poll, credential: Mapping[str, str], bound: str, page: int, now: datetime
) -> Page:
    """Read one page. Raises `CursorLost`, `NotAsked`."""
    own = {"since": bound, "page": str(page), "page_size": str(poll.page_size)}
    values = {**credential, **own}
    try:
        request = build_request(app, values, method="GET", path=poll.get, query=poll.query, headers=poll.headers)
        answer = outbound.send(request, ceiling=CEILING, largest=LARGEST)
    except NoAnswer as silence:
        verdict = silence_of(silence)
        is_try = not isinstance(verdict, TryAgain) or verdict.is_try
        raise NotAsked(verdict.because, wait=getattr(verdict, "wait", None), is_try=is_try) from None
    except (HostNotAllowed, ValueError, KeyError) as problem:
        raise NotAsked(f"The request can’t be made: {problem}.") from None
    return _read(answer, app, poll, now, has_cursor=bool(bound))


def _read(answer: Answer, app: App, poll: Poll, now: datetime, *, has_cursor: bool) -> Page:
    if not 200 <= answer.status < 300:
        if has_cursor and answer.status in poll.cursor.lost:
            raise CursorLost
        verdict = judge(answer, app.title, app, now)
        raise NotAsked(
            getattr(verdict, "because", app.title),
            is_refused=isinstance(verdict, Refused),
            wait=getattr(verdict, "wait", None),
        )
    try:
        reply = answer.json()
    except NotJSON:
        raise NotAsked(f"{app.title} answered with something that is no JSON.") from None
    items = search(poll.items, reply)
    if not isinstance(items, list):
        raise NotAsked(f"{app.title} answered without the list of items that its declaration names.")
    if len(items) > MOST_TIMES * poll.page_size:
        raise NotAsked(
            f"{app.title} answered with {len(items):,} items where {poll.page_size} were asked for, so none was taken: "
            "let its declaration ask for {page_size}."
        )
    read = []
    for item in items:
        key, value = search(poll.key, item), search(poll.cursor.value, item)
        if key is None:
            raise NotAsked(f"{app.title} sent an item without the key that its declaration names.")
        read.append((str(key), None if value is None else str(value), item))
    clock = _clock(answer)
    return Page(read, len(items) >= poll.page_size, clock, clock or now)


def search(expression: str, value: Any) -> Any:
    """What JMESPath picks; None where it can't be applied."""
    try:
        return jmespath.search(expression, value)
    except (jmespath.exceptions.JMESPathError, TypeError, ValueError):
        return None


def _clock(answer: Answer) -> datetime | None:
    try:
        moment = parsedate_to_datetime(answer.headers.get("Date", ""))
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # A clock that is centuries off says nothing, and can't be reckoned with at the ends of the calendar.
    return moment if 1970 <= moment.year < 9000 else None
