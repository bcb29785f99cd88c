"""The address itself. Apps read no pages: every answer is JSON."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import current_app, request
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import RequestEntityTooLarge

from portal.clock import now
from portal.db import transaction
from portal.faults import note
from portal.refusals import Refusal
from portal.triggers.hooks import find_hook, receive
from portal.workflows.definition import LARGEST_VALUE

hooks = APIBlueprint("hooks", __name__, enable_openapi=False)


@hooks.post("/hooks/<address>")
def take(address: str) -> ResponseReturnValue:
    """Take a webhook of an app; the same one again changes nothing."""
    request.max_content_length = LARGEST_VALUE
    body = request.get_data()
    with transaction() as session:
        hook = find_hook(session, address)
        made = receive(session, hook, current_app.extensions["catalogue"], dict(request.headers), body, now())
    return {"message": "Taken", "runs": len(made)}, 200


@hooks.errorhandler(RequestEntityTooLarge)
def _too_large(_: RequestEntityTooLarge) -> ResponseReturnValue:
    return {"message": f"A webhook can have {LARGEST_VALUE:,} bytes here."}, 413


@hooks.errorhandler(OperationalError)
@hooks.errorhandler(PoolTimeout)
def _overloaded(error: Exception) -> ResponseReturnValue:
    note(error)
    return (
        {"message": "The portal is very busy just now, so nothing was taken: send it again."},
        503,
        {"Retry-After": "5"},
    )


@hooks.errorhandler(Refusal)
def _refused(refusal: Refusal) -> ResponseReturnValue:
    wait = getattr(refusal, "retry_after", None)
    return {"message": refusal.message()}, refusal.status, {"Retry-After": str(wait)} if wait else {}
