"""The install page: what the end user with the link sees, as a page or, for htmx, as the changed fragment."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

from flask import Blueprint, current_app, g, request
from flask.typing import ResponseReturnValue
from htmx_flask import request as htmx
from werkzeug.datastructures import MultiDict

from portal.catalogue import Catalogue
from portal.clock import now
from portal.credentials.rules import credentials_at_hand, drop_draft
from portal.db import database, transaction
from portal.install import connecting
from portal.install.first_view import make_ready
from portal.install.refused import show_asked, show_refusal
from portal.install.sections import Section, lay_out
from portal.install.settings import WorkflowSettings
from portal.install.view import PageView, describe, read_settings, show
from portal.installations.opening import find_untouched
from portal.installations.rules import finish_connection, finish_installation
from portal.integrations.rules import find_integration
from portal.keys.ring import KeyRing
from portal.links.errors import LinkFinished, LinkUnknown, TooManyTries
from portal.links.models import Link, LinkState
from portal.links.rules import (
    find_link,
    mark_opened,
    mark_passed_on,
    mark_verified,
    request_new_link,
    require_patience,
    require_usable,
)
from portal.preferences.current import current_settings
from portal.refusals import Refusal
from portal.web import PATH, speak_for
from portal.web.turns import while_waiting

install = Blueprint("install", __name__)


def link_required(view: Callable[..., ResponseReturnValue]) -> Callable[..., ResponseReturnValue]:
    """Give the view the link of the request's token, usable now or finished by this very page. Raises refusals."""

    @wraps(view)
    def guarded() -> ResponseReturnValue:
        facts = request.form if request.method == "POST" else request.args
        link = _load(facts.get("token", ""), facts.get("integrationId", ""))
        speak_for(current_settings(), link.locale)
        posted = facts.get("press", "")[:64] if request.method == "POST" else ""
        g.press = posted or secrets.token_hex(8)
        is_asking = request.method == "POST" and facts.get("action") == "request"  # for a new link: it may be over
        if not is_asking and not (link.finished_at and posted and posted == link.finished_by):
            require_usable(link, now())
        return view(link)

    return guarded


def _load(token: str, integration_id: str) -> Link:
    keys: KeyRing = current_app.extensions["keys"]
    try:
        with transaction() as session:
            return find_link(session, keys.link_keys, token, integration_id)
    except LinkUnknown:
        # It may have been signed a moment ago, with a key that another process made a moment before that.
        if not keys.refresh_link_keys():
            raise
    with transaction() as session:
        return find_link(session, keys.link_keys, token, integration_id)


@install.get(PATH)
def open_link() -> ResponseReturnValue:
    """The form. Opening it never spends the link. What it shows of an untouched link is made ready for the next."""
    token, integration_id = request.args.get("token", ""), request.args.get("integrationId", "")
    keys = current_app.extensions["keys"].link_keys
    untouched = find_untouched(database(), keys, token, integration_id, now())
    if untouched is not None:
        speak_for(current_settings(), untouched.locale)
        with transaction() as session:
            make_ready(untouched, find_integration(session, integration_id))
    return page()


@link_required
def page(link: Link) -> ResponseReturnValue:
    """The form of a link that has a history."""
    return page_of(link)


def page_of(link: Link) -> ResponseReturnValue:
    """The form, with what its user has connected."""
    sections = _sections(link)
    if request.method == "GET":  # a HEAD request asks nobody anything
        _recheck(link, [section for section in sections if section.is_connected])
    return show(_view(link, sections))


@install.post(PATH)
@link_required
def act(link: Link) -> ResponseReturnValue:
    """Every button of the page posts here; `action` says which was pressed."""
    if request.form.get("action") == "request":
        return ask_for_new(link)
    if link.finished_at:
        return show(_view(link, [], is_done=True), block="content")
    action, _, app = request.form.get("action", "finish").partition(":")
    match action:
        case "check" if app in link.apps:
            return check(link, app)
        case "other" if app in link.apps:
            return use_other(link, app)
        case "pass-on":
            return pass_on(link)
        case "seen":
            return seen(link)
        case _:
            return finish(link)


def check(link: Link, app: str) -> ResponseReturnValue:
    """Test one app's credential. Without htmx the whole page comes back, so every filled form is tested then."""
    sections = _sections(link, request.form)
    wanted = [s for s in sections if s.app.name == app]
    others = [] if htmx.htmx else [s for s in sections if s.app.name != app]
    status = _connect(link, sections, wanted, others).status
    if status == 200 and wanted[0].errors:
        status = 422
    return show(_view(link, sections, focus=app, settings=_posted_settings(link)), section=wanted[0], status=status)


def use_other(link: Link, app: str) -> ResponseReturnValue:
    """Forget the draft of one app and show its form again."""
    with transaction(link.environment) as session:
        mark_opened(session, link.id, now())
        drop_draft(session, link.id, app)
    sections = _sections(link, MultiDict({**request.form, f"{app}-use": "new"}))
    section = next(s for s in sections if s.app.name == app)
    return show(_view(link, sections, focus=app, settings=_posted_settings(link)), section=section)


def finish(link: Link) -> ResponseReturnValue:
    """Test what hasn't been tested, then finish the installation: one transaction, all or nothing."""
    sections = _sections(link, request.form)
    settings = read_settings(link, request.form)
    answered = [one.form.validate() for one in settings]
    try:
        outcome = _connect(link, sections, sections, [], settings=settings, finish_as=g.press if all(answered) else "")
    except LinkFinished as done:
        if done.finished_by != g.press:
            raise
        outcome = Outcome(200, is_done=True)  # the same press, sent twice
    if outcome.is_done:
        return show(_view(link, sections, is_done=True), block="content")
    return show(_view(link, sections, settings=settings), block="content", status=max(outcome.status, 422))


def pass_on(link: Link) -> ResponseReturnValue:
    """Note that somebody else has the keys, and show how to hand the page on."""
    with transaction(link.environment) as session:
        mark_opened(session, link.id, now())
        mark_passed_on(session, link.id, now())
    view = _view(link, _sections(link, request.form), is_passing_on=True, settings=_posted_settings(link))
    return show(view, block="passing_on")


def ask_for_new(link: Link) -> ResponseReturnValue:
    """Tell the vendor that the person on the page of an ended link wants a new one."""
    if link.state(now()) in (LinkState.finished, LinkState.revoked, LinkState.expired):
        with transaction(link.environment) as session:
            request_new_link(session, link, now())
        return show_asked()
    return page_of(link)


def seen(link: Link) -> ResponseReturnValue:
    """The page's script tells of the first sign of a person."""
    with transaction(link.environment) as session:
        mark_opened(session, link.id, now())
    return "", 204


@dataclass(frozen=True)
class Outcome:
    """What connecting led to."""

    status: int
    is_done: bool = False


def _sections(link: Link, posted: MultiDict[str, str] | None = None) -> list[Section]:
    catalogue: Catalogue = current_app.extensions["catalogue"]
    with transaction(link.environment) as session:
        at_hand = credentials_at_hand(session, link.id, link.user_id, link.apps)
    return lay_out(link, catalogue, at_hand, always_show=_always_show(link), posted=posted)


def _posted_settings(link: Link) -> list[WorkflowSettings]:
    # A fragment shows no settings: they stay on the page as they were typed.
    return [] if htmx.htmx else read_settings(link, request.form)


def _always_show(link: Link) -> bool:
    # The query may tighten what was signed, never loosen it.
    return link.always_show_credentials or request.values.get("alwaysShowCredentials", "").lower() == "true"


def _means() -> connecting.Means:
    extensions = current_app.extensions
    return connecting.Means(extensions["outbound"], extensions["keys"], extensions["catalogue"])


def _recheck(link: Link, sections: list[Section]) -> None:
    """Test again, unless that was just done, what would be used without being asked for. No try is counted."""
    trials = connecting.prepare(sections, _means(), now(), only_filled=True)
    if trials:
        with while_waiting():
            connecting.run(trials, _means())
        with transaction(link.environment) as session:
            connecting.keep(session, link, trials, _means(), now(), count_failures=False)


def _connect(
    link: Link,
    sections: list[Section],
    wanted: list[Section],
    others: list[Section],
    *,
    settings: Sequence[WorkflowSettings] = (),
    finish_as: str = "",
) -> Outcome:
    """Test and keep; with `finish_as`, the press of the button, also finish when every app is connected."""
    means = _means()
    trials = connecting.prepare(wanted, means, now(), only_filled=False)
    trials += connecting.prepare(others, means, now(), only_filled=True)
    if trials:
        try:
            with transaction() as session:
                require_patience(session, link, now())
        except TooManyTries as refusal:
            for trial in trials:
                trial.section.fail(refusal.message(), None)
            g.retry_after = refusal.retry_after
            return Outcome(refusal.status)
        with while_waiting():
            connecting.run(trials, means)
    with transaction(link.environment) as session:
        connecting.keep_mistyped(session, link, wanted, now())
        connecting.keep(session, link, trials, means, now())
        is_connected = all(section.is_connected for section in sections)
        if not is_connected or not finish_as:
            mark_opened(session, link.id, now())
            if is_connected:
                mark_verified(session, link.id, now())
            return Outcome(200)
        used = [section.credential.id for section in sections if section.credential]
        if link.integration_id is None:
            finish_connection(session, link, used, press=finish_as, now=now())
        else:
            finish_installation(
                session,
                link,
                used,
                press=finish_as,
                now=now(),
                settings={one.workflow_id: one.values for one in settings},
            )
    return Outcome(200, is_done=True)


def _view(link: Link, sections: list[Section], **more: Any) -> PageView:
    return describe(link, sections, press=g.press, **more)


@install.errorhandler(Refusal)
def refuse(refusal: Refusal) -> ResponseReturnValue:
    """The one place where a refusal becomes this surface's answer."""
    return show_refusal(refusal)
