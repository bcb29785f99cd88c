"""The overview: what needs attention first, then counts and how many installations were finished each day."""

from __future__ import annotations

from flask import render_template
from flask.typing import ResponseReturnValue

from portal.attention import figures, what_needs_attention
from portal.clock import now
from portal.dashboard.access import dashboard, needs, own
from portal.operators.models import Role
from portal.runs.counting import count_lately

WIDTH, HEIGHT = 600, 120  # of the plot


@dashboard.get("")
@needs(Role.viewer)
def overview() -> ResponseReturnValue:
    """The first page."""
    with own() as session:
        attention = what_needs_attention(session, now())
        counts = figures.count_everything(session, now())
        days = figures.installations_by_day(session, now())
        most = max(1, *(number for _, number in days))
        step = WIDTH / len(days)
        bars = [
            (round(n * step, 1), round(step * 0.8, 1), round(HEIGHT * number / most, 1), day, number)
            for n, (day, number) in enumerate(days)
        ]
        return render_template(
            "dashboard/overview.html",
            attention=attention,
            counts=counts,
            runs=count_lately(session, now()),
            bars=bars,
            width=WIDTH,
            height=HEIGHT,
            highest=most,
            total=sum(number for _, number in days),
            most=figures.MOST_COUNTED,
        )
