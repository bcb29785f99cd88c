"""What every page of the portal shares: security headers, compression, template filters, the pages for faults."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import brotli
from flask import Flask, Response, abort, render_template, request
from flask.typing import ResponseReturnValue
from htmx_flask import Htmx
from markupsafe import Markup
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from structlog.contextvars import bind_contextvars
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.local import LocalProxy

from portal import faults
from portal.clock import now
from portal.colour import accent_css
from portal.languages import ENGLISH, choose, language, sentence, speak
from portal.languages.language import DAY, DAY_OF_YEAR
from portal.settings import Settings
from portal.web.bodies import LARGEST_BODY, UNREAD
from portal.web.headers import NONCE, REQUEST_ID
from portal.web.reading import BoundedJSON

_WORTH_PACKING = 1_000

PATH = "/embedded-install"  # of the install page; a part of the contract


def init_web(app: Flask, settings: Callable[[], Settings]) -> None:
    """Set up what all pages share. `settings` gives them as they hold at the moment."""
    Htmx(app)
    app.json = BoundedJSON(app)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    app.config["MAX_FORM_MEMORY_SIZE"] = LARGEST_BODY
    app.jinja_env.globals["settings"] = LocalProxy(settings)
    app.jinja_env.globals["accent_css"] = accent_css
    app.jinja_env.globals["path"] = PATH
    app.jinja_env.globals["_"] = translated
    app.jinja_env.globals["language"] = language
    app.jinja_env.filters["moment"] = lambda at: language().moment(at)
    app.jinja_env.filters["shortday"] = lambda at: language().moment(at, DAY if _this_year(at) else DAY_OF_YEAR)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.extensions["install_workflows"] = {}
    app.extensions["first_views"] = {}

    @app.before_request
    def _name_in_log() -> None:
        bind_contextvars(request_id=request.environ[REQUEST_ID])

    @app.before_request
    def _require_body() -> None:
        if UNREAD in request.environ:
            abort(503)

    @app.before_request
    def _speak() -> None:
        if _is_for_end_users():
            speak_for(settings(), None)
        else:
            speak(ENGLISH)

    @app.context_processor
    def _nonce() -> dict[str, str]:
        return {"nonce": request.environ[NONCE]}

    app.after_request(_packed)
    app.register_error_handler(OperationalError, _overloaded)
    app.register_error_handler(PoolTimeout, _overloaded)
    app.register_error_handler(RequestEntityTooLarge, _too_large)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _defect)


def translated(msgid: str, **facts: object) -> Markup:
    """A text of a template, which may hold markup, in the page's language; what is put into it is escaped."""
    return Markup(language().text(msgid)).format(**facts)  # noqa: S704 - our own text, from a template or its translation


def speak_for(settings: Settings, locale: str | None) -> None:
    """Write the answer in the language of the link (its `locale`), else of the browser, else of the settings."""
    accepted = request.headers.get("Accept-Language", "")
    speak(choose(locale, accepted, settings.languages, settings.language))


def _is_for_end_users() -> bool:
    # No route: somebody with half a link, unless it is below the dashboard.
    if request.endpoint is None:
        return not _is_for_operators()
    return request.blueprint == "install"


def _is_for_operators() -> bool:
    return request.path.startswith("/dashboard")


def _this_year(at: datetime) -> bool:
    return at.year == now().year


def _packed(response: Response) -> Response:
    if "br" in request.environ.get("HTTP_ACCEPT_ENCODING", "") and response.mimetype == "text/html":
        data = response.get_data()
        if len(data) > _WORTH_PACKING:
            response.set_data(pack(data))
            response.headers["Content-Encoding"] = "br"
    return response


def pack(data: bytes) -> bytes:
    """Compress a page with brotli, at the level that costs the least for what it saves."""
    return bytes(brotli.compress(data, quality=4))


def _overloaded(error: Exception) -> ResponseReturnValue:
    faults.note(error)
    text = faults.OPERATORS_OVERLOADED if _is_for_operators() else faults.OVERLOADED
    return *_fault_page(503, sentence("Please try again in a moment"), text), {"Retry-After": "5"}


def _too_large(_: RequestEntityTooLarge) -> ResponseReturnValue:
    return _fault_page(413, sentence("That was too much"), faults.TOO_LARGE)


def _http_error(error: HTTPException) -> ResponseReturnValue:
    status = error.code or 500
    if _wants_json():
        return {"message": faults.JSON.get(status, error.description)}, status
    said: tuple[str, str] = faults.HTTP.get(status, faults.HTTP[404])
    title, text = faults.OPERATORS.get(status, said) if _is_for_operators() else said
    return _fault_page(status, title, text)


def _wants_json() -> bool:
    # Programs say so; people's browsers ask for text/html first.
    return request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json"


def _defect(error: Exception) -> ResponseReturnValue:
    reference = faults.note(error)
    to_operators = faults.OPERATORS_BROKEN.format(reference=reference)
    text = to_operators if _is_for_operators() else sentence(faults.BROKEN, reference=reference)
    return _fault_page(500, sentence("Something broke on our side"), text)


def _fault_page(status: int, title: str, text: str) -> tuple[str, int]:
    template = "dashboard/fault.html" if _is_for_operators() else "layout/fault.html"
    return render_template(template, title=title, text=text), status
