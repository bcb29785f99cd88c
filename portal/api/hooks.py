"""What happens around every call: who calls, how much they may, whether it came before; and how errors are answered."""

from __future__ import annotations

import time
from typing import Any

import structlog
from apiflask import APIBlueprint
from apiflask.exceptions import HTTPError
from flask import Response, current_app, g, jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from portal import faults
from portal.api.access import TOKEN_HEADER, identify, is_open_to_users, own
from portal.clock import now
from portal.idempotency.rules import Answer, StillUnderWay, claim, fingerprint, give_back, keep_answer
from portal.keys.ring import KeyRing
from portal.refusals import Refusal
from portal.web.limits import Limiter, TooManyCalls

log = structlog.get_logger(__name__)


def resource(name: str, import_name: str, *, tag: str) -> APIBlueprint:
    """A blueprint of the API, with these hooks around every view of it; `tag` is its heading in the reference."""
    api = APIBlueprint(name, import_name, tag=tag)
    api.before_request(_begin)
    api.after_request(_end)
    api.register_error_handler(Refusal, _refused)
    api.register_error_handler(HTTPError, _unreadable)
    api.register_error_handler(HTTPException, _http_error)
    api.register_error_handler(RequestEntityTooLarge, _too_large)
    api.register_error_handler(OperationalError, _overloaded)
    api.register_error_handler(PoolTimeout, _overloaded)
    api.register_error_handler(Exception, _defect)
    return api


def _begin() -> ResponseReturnValue | None:
    g.began = time.monotonic()
    if request.method == "OPTIONS":
        return _preflight()
    limiter: Limiter = current_app.extensions["limiter"]
    try:
        g.caller = identify()
    except Refusal:
        _count(limiter, f"address {request.remote_addr}")
        raise
    _count(limiter, g.caller.name)
    if "\0" in request.path or b"%00" in request.query_string:
        return _say(404, "There is nothing by this name: no name contains a zero character.")
    if request.method == "POST" and "Idempotency-Key" in request.headers:
        return _replay(request.headers["Idempotency-Key"])
    return None


def _count(limiter: Limiter, caller: str) -> None:
    g.allowance, may = limiter.hit(caller)
    if not may:
        raise TooManyCalls(g.allowance)


def _preflight() -> Response:
    # Browsers ask before they send a user token (Fetch standard, CORS protocol); keys are not for browsers.
    response = Response(status=204)
    response.headers["Allow"] = ", ".join(sorted(request.url_rule.methods or ())) if request.url_rule else "OPTIONS"
    methods = _open_methods()
    if methods:
        response.headers["Access-Control-Allow-Methods"] = ", ".join(methods)
        response.headers["Access-Control-Allow-Headers"] = f"content-type, {TOKEN_HEADER}"
        response.headers["Access-Control-Max-Age"] = "7200"
    return response


def _open_methods() -> list[str]:
    """The methods at this address that may be called with a user token."""
    if request.url_rule is None:
        return []
    rules = current_app.url_map.iter_rules()
    same = [r for r in rules if r.rule == request.url_rule.rule and is_open_to_users(r.endpoint)]
    return sorted({method for rule in same for method in (rule.methods or ()) if method in ("GET", "PUT")})


def _replay(key: str) -> ResponseReturnValue | None:
    keys: KeyRing = current_app.extensions["keys"]
    call = fingerprint(request.method, request.full_path, request.get_data())
    try:
        with own() as session:
            outcome = claim(session, keys, key, call, now())
    except IntegrityError:
        raise StillUnderWay from None
    if isinstance(outcome, Answer):
        headers = {"Idempotent-Replayed": "true"}
        return Response(outcome.body, outcome.status, headers, content_type="application/json")
    g.claim = outcome
    return None


def _end(response: Response) -> Response:
    if "claim" in g:
        with own() as session:
            if response.status_code < 300:
                keys: KeyRing = current_app.extensions["keys"]
                keep_answer(session, keys, g.claim, Answer(response.status_code, response.get_data()))
            else:
                give_back(session, g.claim)
    if "allowance" in g:
        response.headers.update(g.allowance.headers)
    if is_open_to_users(request.endpoint) or "Access-Control-Allow-Methods" in response.headers:
        response.headers["Access-Control-Allow-Origin"] = "*"
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    log.info(
        "call",
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        caller=g.caller.name if "caller" in g else None,
        ms=round((time.monotonic() - g.began) * 1000, 1) if "began" in g else None,
    )
    return response


def _say(status: int, message: str, **headers: str) -> Response:
    response = jsonify({"message": message})
    response.status_code = status
    response.headers.update(headers)
    return response


def _refused(refusal: Refusal) -> Response:
    wait = getattr(refusal, "retry_after", None)
    # A form answers 422; the published clients of the API return that instead of throwing it.
    status = 400 if refusal.status == 422 else refusal.status
    return _say(status, refusal.message(), **({"Retry-After": str(wait)} if wait else {}))


def _unreadable(error: HTTPError) -> Response:
    detail: dict[str, Any] = error.detail if isinstance(error.detail, dict) else {}
    said = [
        f"`{place}`: {text}" if (place := _place(name)) else str(text).removeprefix("Value error, ")
        for fields in detail.values()
        if isinstance(fields, dict)
        for name, texts in fields.items()
        for text in texts
    ]
    return _say(error.status_code, f"Please mend what was sent. {'. '.join(said) or error.message}. See /docs.")


def _place(name: str) -> str:
    # pydantic names the branches of a union as well, in words that are its own.
    return ".".join(part for part in name.split(".") if part.isidentifier() or part.isdigit()).removeprefix("_schema")


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if status == 400:
        return _say(400, "What was sent can’t be read: send JSON, with `Content-Type: application/json`.")
    return _say(status, f"{error.description}", **_allow(error))


def _allow(error: HTTPException) -> dict[str, str]:
    methods = error.valid_methods if isinstance(error, MethodNotAllowed) else None
    return {"Allow": ", ".join(sorted(methods))} if methods else {}


def _too_large(_: RequestEntityTooLarge) -> Response:
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    return _say(413, f"What was sent is too large: at most {limit:,} bytes. Send it in parts.")


def _overloaded(error: Exception) -> Response:
    faults.note(error)
    return _say(
        503, "The portal is very busy just now. Nothing was changed: send it again in a moment.", **{"Retry-After": "5"}
    )


def _defect(error: Exception) -> Response:
    reference = faults.note(error)
    return _say(500, f"Something broke on our side. Tell the people who run this portal the reference {reference}.")
