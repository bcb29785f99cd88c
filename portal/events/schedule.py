"""When a delivery is tried again, and when it is given up."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# The wait before each further attempt; after these it is a day each time.
WAITS = tuple(timedelta(seconds=s) for s in (5, 30, 2 * 60, 10 * 60, 3600, 3 * 3600, 6 * 3600, 12 * 3600))
DAY = timedelta(days=1)
GIVEN_UP_AFTER = timedelta(days=5)


def next_attempt(number: int, *, began: datetime, now: datetime, retry_after: timedelta | None) -> datetime | None:
    """The moment of the attempt after attempt `number` (1 is the first), which failed at `now`.

    `began` is when the delivery was first due; an endpoint's `retry_after` can put the next attempt off, by a day
    at the most. None: the five days are over.
    """
    wait = WAITS[number - 1] if number <= len(WAITS) else DAY
    if retry_after is not None:
        wait = max(wait, min(retry_after, DAY))
    moment = now + wait
    return moment if moment <= began + GIVEN_UP_AFTER else None


def read_retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """`Retry-After` as seconds or as an HTTP date (RFC 9110, section 10.2.3); None when absent or unreadable."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(float(text), DAY.total_seconds()))
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):  # each of them, for some unreadable date
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(moment - now, timedelta(0))
