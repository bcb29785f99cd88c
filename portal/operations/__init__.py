"""What operators' machines ask: is it alive, is it ready, how is it doing."""

from __future__ import annotations

import hmac

import sqlalchemy as sa
from flask import Blueprint, Flask, Response, abort, request
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from portal.background import is_running
from portal.db import engine, transaction
from portal.db.migrating import is_migrated
from portal.events.models import Delivery, DeliveryState
from portal.http import Outbound
from portal.settings import Settings


def init_operations(app: Flask, settings: Settings) -> None:
    """Add /healthz, /readyz and /metrics."""

    pages = Blueprint("operations", __name__)

    @pages.get("/healthz")
    def healthz() -> ResponseReturnValue:
        return {"status": "ok"}

    @pages.get("/readyz")
    def readyz() -> ResponseReturnValue:
        facts = {"database": False, "migrations": False, "engine": is_running() or not settings.engine}
        try:
            with transaction() as session:
                session.execute(sa.select(1))
            facts["database"] = True
            facts["migrations"] = is_migrated(engine())
        except SQLAlchemyError:
            pass  # that is the answer
        ready = all(facts.values())
        return {"status": "ready" if ready else "not ready", **facts}, 200 if ready else 503

    @pages.get("/metrics")
    def metrics() -> ResponseReturnValue:
        if not _may_read_metrics(settings):
            abort(404)
        outbound: Outbound = app.extensions["outbound"]
        registry = CollectorRegistry()
        calls = Gauge("portal_outbound_calls", "Calls to apps' hosts that wait for an answer", registry=registry)
        calls.set(outbound.calls_under_way)
        deliveries = Gauge("portal_deliveries", "Webhook deliveries by state", ["state"], registry=registry)
        with transaction() as session:
            # In the order of an index, which begins with the environment.
            each = sa.select(Delivery.state, sa.func.count()).group_by(Delivery.environment, Delivery.state)
            counted = session.execute(each).all()
        for state in DeliveryState:
            deliveries.labels(state).set(sum(number for counted_state, number in counted if counted_state is state))
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    app.register_blueprint(pages)


def _may_read_metrics(settings: Settings) -> bool:
    if settings.metrics_token is None:
        return not settings.is_production
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return hmac.compare_digest(given.encode(), settings.metrics_token.get_secret_value().encode())
