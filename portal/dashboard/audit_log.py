"""The audit log: who did what when, looked through by filters, taken along as a file."""

from __future__ import annotations

from collections.abc import Mapping

from flask import g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.audit.export import start_export
from portal.audit.models import AuditEntry
from portal.audit.rules import Filter, known_actions
from portal.clock import now
from portal.dashboard.access import audit, dashboard, own
from portal.dashboard.lists import listing
from portal.db import transaction

FILTERS = ("actor", "action", "since", "until")


def _wanted(given: Mapping[str, str]) -> Filter:
    return Filter(**{name: given.get(name, "").strip() for name in FILTERS})


@dashboard.get("/audit")
def audit_log() -> ResponseReturnValue:
    """Who did what when."""
    with transaction() as session:
        found = listing(session, _wanted(request.args).select(), by=AuditEntry.at, then=AuditEntry.id, filters=FILTERS)
        return render_template("dashboard/audit.html", found=found, actions=known_actions(session))


@dashboard.post("/audit/export")
def export_audit_log() -> ResponseReturnValue:
    """What the filters leave, as a file; written in the background."""
    wanted, kind = _wanted(request.form), request.form.get("format", "")
    with own() as session:
        task = start_export(session, wanted, kind, asked_by=g.session.operator.email, now=now())
        audit(
            session,
            "audit.export",
            kind,
            actor_filter=wanted.actor,
            action_filter=wanted.action,
            from_filter=wanted.since,
            to_filter=wanted.until,
        )
    return redirect(url_for("dashboard.task", task=task.id), 303)
