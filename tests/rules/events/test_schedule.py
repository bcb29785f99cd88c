"""When a delivery is tried again: the table, `Retry-After`, and the end after five days."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portal.events.schedule import next_attempt, read_retry_after

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=s) for s in (1, 60, 3600, 86400))


def waits_of_an_endpoint_that_is_down(noon: datetime, retry_after: timedelta | None = None) -> list[timedelta]:
    waits, moment, number = [], noon, 1
    while (due := next_attempt(number, began=noon, now=moment, retry_after=retry_after)) is not None:
        waits.append(due - moment)
        moment, number = due, number + 1
    return waits


def test_the_waits_grow_from_seconds_to_a_day_and_stay_there(noon: datetime) -> None:
    first = [5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR]

    assert waits_of_an_endpoint_that_is_down(noon) == [*first, DAY, DAY, DAY, DAY]


def test_no_attempt_is_made_later_than_five_days_after_the_first(noon: datetime) -> None:
    assert next_attempt(9, began=noon, now=noon + 4 * DAY, retry_after=None) == noon + 5 * DAY
    assert next_attempt(9, began=noon, now=noon + 4 * DAY + SECOND, retry_after=None) is None


@pytest.mark.parametrize(
    ("asked", "waited"),
    [(SECOND, 5 * SECOND), (0 * SECOND, 5 * SECOND), (7 * MINUTE, 7 * MINUTE), (DAY, DAY), (30 * DAY, DAY)],
)
def test_what_the_endpoint_asks_for_puts_the_next_attempt_off_by_a_day_at_most_and_never_brings_it_forward(
    noon: datetime, asked: timedelta, waited: timedelta
) -> None:
    assert next_attempt(1, began=noon, now=noon, retry_after=asked) == noon + waited


def test_an_endpoint_that_asks_for_more_time_each_time_is_given_up_all_the_same(noon: datetime) -> None:
    assert waits_of_an_endpoint_that_is_down(noon, retry_after=DAY) == [DAY] * 5


def test_retry_after_is_read_as_seconds_or_as_a_date(noon: datetime) -> None:
    in_an_hour = format_datetime(noon + HOUR, usegmt=True)

    assert read_retry_after({"Retry-After": " 120 "}, noon) == 2 * MINUTE
    assert read_retry_after({"Retry-After": "000000000120"}, noon) == 2 * MINUTE
    assert read_retry_after({"Retry-After": in_an_hour}, noon) == HOUR
    assert read_retry_after({"Retry-After": in_an_hour.replace("GMT", "-0000")}, noon) == HOUR


def test_a_date_that_has_passed_asks_for_nothing(noon: datetime) -> None:
    assert read_retry_after({"Retry-After": "Mon, 02 Mar 2020 12:00:00 GMT"}, noon) == timedelta(0)


@pytest.mark.parametrize("text", ["", "soon", "-5", "1.5", "٣", "5, 10", "Mon, 02 Mar 2026 99:99:99 GMT"])
def test_what_can_not_be_read_asks_for_nothing(noon: datetime, text: str) -> None:
    assert read_retry_after({"Retry-After": text}, noon) is None
    assert read_retry_after({}, noon) is None


_PIECES = st.sampled_from(["Mon,", "02", "Mar", "2026", "12:00:00", "GMT", "+9999", "-", ":", "9" * 30, "0", ""])


@given(st.text(max_size=40) | st.lists(_PIECES, max_size=7).map(" ".join))
@example("9" * 10_000)
@example(f"Mon, 02 Mar {'9' * 30} 12:00:00 GMT")
@example(f"Mon, 02 Mar 2026 12:00:00 +{'9' * 30}")
def test_no_answer_of_an_endpoint_breaks_the_schedule(text: str) -> None:
    noon = datetime.fromisoformat("2026-03-02T12:00:00+00:00")
    asked = read_retry_after({"Retry-After": text}, noon)

    due = next_attempt(1, began=noon, now=noon, retry_after=asked)

    assert due is not None
    assert noon + 5 * SECOND <= due <= noon + DAY
