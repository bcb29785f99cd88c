"""Runs: which there were, one of them step by step, and what an operator may do about it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import sqlalchemy as sa
from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from htmx_flask import request as htmx
from jinja2_fragments.flask import render_block
from sqlalchemy.orm import Session

from portal.clock import now
from portal.dashboard.access import audit, dashboard, needs, own
from portal.dashboard.lists import People, chosen, listing, people_named
from portal.operators.models import Role
from portal.runs.models import Run, RunState
from portal.runs.reading import can_rerun, load_run, reruns_of, select_runs, shown_item, timeline
from portal.runs.rules import rerun
from portal.runs.stopping import stop_run, try_now
from portal.users.models import User
from portal.workflows.models import Workflow

MOST_WORKFLOWS = 200  # that the filter offers
FILTERS = ("state", "workflow", "user", "since")


@dashboard.get("/runs")
@needs(Role.viewer)
def runs() -> ResponseReturnValue:
    """Every run, by state, workflow, user and time."""
    with own() as session:
        people = _people(session)
        statement = select_runs(
            state=chosen(RunState, "state"),
            workflow_id=request.args.get("workflow") or None,
            since=_moment(request.args.get("since", "")),
        )
        found = listing(
            session,
            statement,
            by=Run.created_at,
            then=Run.id,
            filters=FILTERS,
            among=people.among(lambda one: Run.user_id == one),
        )
        workflows = session.scalars(sa.select(Workflow).order_by(Workflow.name, Workflow.id).limit(MOST_WORKFLOWS))
        return render_template(
            "dashboard/runs.html",
            found=found,
            people=people,
            states=list(RunState),
            workflows=[(one.id, f"{one.name} (retired)" if one.retired_at else one.name) for one in workflows],
        )


def _people(session: Session) -> People:
    """The user with the very name that was typed, or else those whose names begin with it."""
    exact = session.scalar(sa.select(User.id).where(User.username == request.args.get("user", "").strip()))
    return People([exact]) if exact else people_named(session)


def _moment(text: str) -> datetime | None:
    try:
        given = datetime.fromisoformat(text)
        return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


@dashboard.get("/runs/<run>")
@needs(Role.viewer)
def run(run: str) -> ResponseReturnValue:
    """One run as a timeline. Looks again by itself while there is something to wait for."""
    first = request.args.get("from", "")
    with own() as session:
        one = load_run(session, run)
        facts = {
            "one": one,
            "steps": timeline(session, one, int(first) if re.fullmatch("[0-9]{1,9}", first) else 1),
            "reruns": reruns_of(session, one),
            "can_rerun": can_rerun(one),
            "at": now(),
        }
        if htmx.htmx:
            return render_block("dashboard/run.html", "progress", **facts)
        return render_template("dashboard/run.html", item=shown_item(session, one), **facts)


@dashboard.post("/runs/<run>/rerun")
@needs(Role.member)
def run_again(run: str) -> ResponseReturnValue:
    """Start a new run with the same item."""
    with own() as session:
        made = rerun(session, load_run(session, run), now())
        audit(session, "run.rerun", run, run=made.id)
    return redirect(url_for("dashboard.run", run=made.id), 303)


@dashboard.post("/runs/<run>/try-now")
@needs(Role.member)
def try_run_now(run: str) -> ResponseReturnValue:
    """Have the next attempt at once."""
    with own() as session:
        try_now(session, load_run(session, run), now())
        audit(session, "run.try_now", run)
    return redirect(url_for("dashboard.run", run=run), 303)


@dashboard.post("/runs/<run>/stop")
@needs(Role.member)
def end_run(run: str) -> ResponseReturnValue:
    """Stop one run; those behind it go on."""
    with own() as session:
        stop_run(session, load_run(session, run), now())
        audit(session, "run.stop", run)
    return redirect(url_for("dashboard.run", run=run), 303)
