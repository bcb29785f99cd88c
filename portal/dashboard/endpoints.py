"""Endpoints: where events go and which, trying them, and what the other side needs to verify what arrives."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from flask import current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from portal.attention.deliveries import count_failing
from portal.clock import now
from portal.dashboard.access import audit, dashboard, needs, own
from portal.dashboard.lists import Column, by_name, listing
from portal.events.endpoints import (
    add_endpoint,
    address_of,
    choose_kinds,
    find_endpoint,
    pause_endpoint,
    remove_endpoint,
    resume_endpoint,
)
from portal.events.errors import BadEndpoint
from portal.events.kinds import INSTALLATION_FINISHED, KINDS
from portal.events.models import Endpoint
from portal.events.rules import send_test_event
from portal.events.verifying import snippets
from portal.http.addresses import without_secrets
from portal.operators.models import Role

# The oldest first: the documented one was there before all others.
COLUMNS = [Column(Endpoint.created_at, up="oldest", down="newest", is_first_down=False), by_name(Endpoint.name)]


def _facts(session: Session, endpoint: Endpoint) -> dict[str, Any]:
    return {"row": endpoint, "reached_at": address_of(session, endpoint)}


def _list(session: Session, problem: BadEndpoint | None = None) -> str:
    found = listing(session, sa.select(Endpoint), then=Endpoint.id, columns=COLUMNS)
    return render_template(
        "dashboard/endpoints.html",
        found=found,
        rows=[_facts(session, one) for one in found.rows],
        failing=count_failing(session, [one.id for one in found.rows], now()),
        kinds=KINDS.values(),
        typed=request.form,
        problem=problem,
        public_keys=current_app.extensions["keys"].public_keys_pem.decode(),
        snippets=snippets(),
    )


@dashboard.get("/endpoints")
@needs(Role.viewer)
def endpoints() -> ResponseReturnValue:
    """Every endpoint, and how to verify what arrives there."""
    with own() as session:
        return _list(session)


@dashboard.post("/endpoints")
def make_endpoint() -> ResponseReturnValue:
    """Add an endpoint."""
    with own() as session:
        try:
            made = add_endpoint(
                session,
                name=request.form.get("name", ""),
                url=request.form.get("url", ""),
                kinds=request.form.getlist("kind"),
                now=now(),
            )
        except BadEndpoint as problem:
            return _list(session, problem), problem.status
        audit(session, "endpoint.create", made.name, endpoint=made.id, url=without_secrets(made.url or ""))
    return redirect(url_for("dashboard.endpoint", endpoint_id=made.id), 303)


@dashboard.get("/endpoints/<endpoint_id>")
@needs(Role.viewer)
def endpoint(endpoint_id: str) -> ResponseReturnValue:
    """One endpoint: what it takes, trying it, pausing and removing it."""
    with own() as session:
        facts = _facts(session, find_endpoint(session, endpoint_id))
        wanted = [kind for kind in KINDS if kind in facts["row"].kinds] or [INSTALLATION_FINISHED]
        return render_template("dashboard/endpoint.html", **facts, kinds=KINDS.values(), first=wanted[0])


@dashboard.post("/endpoints/<endpoint_id>")
def change_endpoint(endpoint_id: str) -> ResponseReturnValue:
    """Choose which kinds it takes."""
    with own() as session:
        found = find_endpoint(session, endpoint_id)
        choose_kinds(session, found, request.form.getlist("kind"))
        audit(session, "endpoint.change", found.name, endpoint=found.id, kinds=", ".join(found.kinds))
    return redirect(url_for("dashboard.endpoint", endpoint_id=endpoint_id), 303)


@dashboard.post("/endpoints/<endpoint_id>/pause")
def pause(endpoint_id: str) -> ResponseReturnValue:
    """Send it nothing until it is resumed."""
    with own() as session:
        found = find_endpoint(session, endpoint_id)
        ended = pause_endpoint(session, found, now())
        audit(session, "endpoint.pause", found.name, endpoint=found.id, given_up=ended)
    return redirect(url_for("dashboard.endpoint", endpoint_id=endpoint_id), 303)


@dashboard.post("/endpoints/<endpoint_id>/resume")
def resume(endpoint_id: str) -> ResponseReturnValue:
    """Send it what happens from now on."""
    with own() as session:
        found = find_endpoint(session, endpoint_id)
        resume_endpoint(session, found)
        audit(session, "endpoint.resume", found.name, endpoint=found.id)
    return redirect(url_for("dashboard.endpoint", endpoint_id=endpoint_id), 303)


@dashboard.post("/endpoints/<endpoint_id>/remove")
def drop_endpoint(endpoint_id: str) -> ResponseReturnValue:
    """Forget it."""
    with own() as session:
        found = find_endpoint(session, endpoint_id)
        remove_endpoint(session, found, now())
        audit(session, "endpoint.remove", found.name, endpoint=endpoint_id, url=without_secrets(found.url or ""))
    return redirect(url_for("dashboard.endpoints"), 303)


@dashboard.post("/endpoints/<endpoint_id>/test")
@needs(Role.member)
def try_endpoint(endpoint_id: str) -> ResponseReturnValue:
    """Send a test event and lead to what comes of it."""
    kind = request.form.get("kind", "")
    with own() as session:
        found = find_endpoint(session, endpoint_id)
        event = send_test_event(session, found, kind if kind in KINDS else INSTALLATION_FINISHED, now())
        audit(session, "endpoint.test", found.name, endpoint=found.id)
    return redirect(url_for("dashboard.event", event=event.id), 303)
