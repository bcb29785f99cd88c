"""The audit log: who did what when, looked through by filters, taken along as a file."""

from __future__ import annotations

from flask import Response, render_template, request
from flask.typing import ResponseReturnValue

from portal.audit.export import FORMATS
from portal.audit.models import AuditEntry
from portal.audit.rules import Filter, every_entry, known_actions
from portal.clock import now
from portal.dashboard.access import audit, dashboard
from portal.dashboard.lists import listing
from portal.db import database, transaction

FILTERS = ("actor", "action", "since", "until")


def _wanted() -> Filter:
    return Filter(**{name: request.args.get(name, "").strip() for name in FILTERS})


@dashboard.get("/audit")
def audit_log() -> ResponseReturnValue:
    """Who did what when."""
    with transaction() as session:
        found = listing(session, _wanted().select(), by=AuditEntry.at, then=AuditEntry.id, filters=FILTERS)
        return render_template(
            "dashboard/audit.html", found=found, actions=known_actions(session), formats=list(FORMATS)
        )


@dashboard.get("/audit/export")
def export_audit_log() -> ResponseReturnValue:
    """What the filters leave, as a file; it is sent while it is read, however long it is."""
    wanted, kind = _wanted(), request.args.get("format", "")
    content_type, write = FORMATS.get(kind, FORMATS["csv"])
    wanted.select()  # a wrong day is a page with a sentence, not half a file
    with transaction() as session:
        audit(session, "audit.export", kind, actor_filter=wanted.actor, action_filter=wanted.action)
    pages = every_entry(database().sessions.begin, wanted)
    response = Response(write(pages), content_type=content_type)
    name = f"audit-log-{now():%Y-%m-%d}.{kind if kind in FORMATS else 'csv'}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
