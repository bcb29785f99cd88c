"""The overview: what needs attention first, then counts and how many installations were finished each day."""

from __future__ import annotations

import sqlalchemy as sa
from flask import render_template, request
from flask.typing import ResponseReturnValue

from portal.attention import count_everything, installations_by_day, what_needs_attention
from portal.audit.models import AuditEntry
from portal.clock import now
from portal.dashboard.access import dashboard, needs, own
from portal.dashboard.lists import listing
from portal.db import transaction
from portal.operators.models import Role

WIDTH, HEIGHT = 600, 120  # of the plot


@dashboard.get("")
@needs(Role.viewer)
def overview() -> ResponseReturnValue:
    """The first page."""
    with own() as session:
        attention = what_needs_attention(session, now())
        counts = count_everything(session, now())
        days = installations_by_day(session, now())
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
            bars=bars,
            width=WIDTH,
            height=HEIGHT,
            total=sum(number for _, number in days),
        )


@dashboard.get("/audit")
def audit_log() -> ResponseReturnValue:
    """Who did what when."""
    statement = sa.select(AuditEntry)
    if who := request.args.get("actor", "").strip():
        statement = statement.where(AuditEntry.actor == who)
    with transaction() as session:
        found = listing(session, statement, by=AuditEntry.at, then=AuditEntry.id, filters=("actor",))
        return render_template("dashboard/audit.html", found=found)
