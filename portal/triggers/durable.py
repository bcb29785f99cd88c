"""Registering webhooks at apps and taking them away, so that it survives a crash and an app that is away."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from flask import current_app

from portal.background import durable, enqueue, patiently, step
from portal.catalogue import build_request
from portal.clock import now
from portal.db import transaction
from portal.http import NoAnswer, NotJSON, Outbound, Request
from portal.keys.ring import KeyRing, SealBroken
from portal.letters import storable
from portal.runs.executing import judge, silence_of
from portal.runs.outcomes import Done, Failed
from portal.triggers import watching  # noqa: F401 - importing is what declares the watcher
from portal.triggers.asking import search
from portal.triggers.hooks import Listening, listening, registration_of, take_away
from portal.triggers.models import Hook
from portal.triggers.rules import HOOKS

log = structlog.get_logger(__name__)

WAITS = tuple(timedelta(seconds=s) for s in (2, 30, 300, 3600, 6 * 3600, 24 * 3600))


@durable(HOOKS)
def register_hook(child_id: str, number: int = 1) -> None:
    """Register a child's address at its app; again later when that fails."""
    life = register_at_app(child_id)
    if life is not None and number <= len(WAITS):
        ask_again("register_hook", child_id, [child_id], number, life)


@step
def register_at_app(child_id: str) -> str | None:
    """Which address (the beginning of its hash) has to be tried again; None when there is nothing left to do.

    One that is registered already is left alone. What the app was asked for before, and may have done although no
    answer came or was written down, is looked for first.
    """
    with transaction() as session:
        hook = session.get(Hook, child_id)
        found = None
        if hook is not None and hook.hook_id is None:
            found = listening(session, hook, current_app.extensions["catalogue"])
        request = registration_of(found) if found else None
        if hook is None or found is None or request is None:
            return None
        address, is_first = hook.address_hash, hook.asked_at is None
        hook.asked_at = now()
    name, because = (None, None) if is_first else _look_for(found)
    if name is None and because is None:
        name, because = _register(found, request)
    # The app isn't asked again because our database is busy.
    patiently(lambda: _keep(found, address, name, because))
    return address[:12] if name is None else None


def _keep(found: Listening, address: str, name: str | None, because: str | None) -> None:
    """Keep under which name the app knows the address, or why it doesn't."""
    registered = {"hook_id": name, "registered_at": now()} if name is not None else {}
    with transaction() as session:
        still = session.execute(
            sa.update(Hook)
            .where(Hook.child_id == found.child.id, Hook.address_hash == address, Hook.hook_id.is_(None))
            .values(error=because and because[:500], **registered)
            .execution_options(synchronize_session=False)
        )
        if still.rowcount != 1 and name is not None:  # type: ignore[attr-defined]
            # Stopped while the app was asked: nobody would know of what it has just registered.
            take_away(session, replace(found, values={**found.values, "hook_id": name}))


def _look_for(found: Listening) -> tuple[str | None, str | None]:
    """(the app's name for our address, if it knows it; why that couldn't be told)."""
    listing = found.webhook.register_.list_ if found.webhook.register_ else None
    if listing is None:
        return None, None
    request = build_request(found.app, found.values, method="GET", path=listing.get, query=listing.query, headers={})
    reply, because = _send(request)
    if because is not None:
        return None, because
    items = search(listing.items, reply)
    if not isinstance(items, list):
        return None, f"{found.app.title} answered without the list of webhooks that its declaration names."
    names = [search(listing.id, item) for item in items if search(listing.url, item) == found.values["hook_url"]]
    return next((_as_name(name) for name in names if name not in (None, "")), None), None


def _register(found: Listening, request: Request) -> tuple[str | None, str | None]:
    """(the app's name for what it has registered; why it hasn't)."""
    declared = found.webhook.register_
    assert declared is not None
    reply, because = _send(request)
    name = search(declared.id, reply) if because is None else None
    if because is None and name in (None, ""):
        because = f"{found.app.title} registered the address, but did not say under which name."
    return (None, because) if because is not None else (_as_name(name), None)


def _as_name(given: Any) -> str:
    return storable(str(given))[:255]


def _send(request: Request) -> tuple[Any, str | None]:
    """(the reply, why there is none)."""
    outbound: Outbound = current_app.extensions["background_outbound"]
    try:
        answer = outbound.send(request)
    except NoAnswer as silence:
        return None, silence_of(silence).because
    verdict = judge(answer, request.url.split("/")[2], None, now())
    if not isinstance(verdict, Done):
        return None, verdict.because
    try:
        return answer.json() if answer.body else None, None
    except NotJSON:
        return None, None


@durable(HOOKS)
def remove_hook(name: str, sealed: str, number: int) -> None:
    """Take a registration away; again later when that fails."""
    if not remove_at_app(name, sealed) and number <= len(WAITS):
        ask_again("remove_hook", name, [name, sealed], number)


@step
def remove_at_app(name: str, sealed: str) -> bool:
    """Whether there is nothing left to do: it is away, or the app says that it can't be taken away."""
    keys: KeyRing = current_app.extensions["keys"]
    outbound: Outbound = current_app.extensions["background_outbound"]
    try:
        request = Request(**json.loads(keys.open(base64.b64decode(sealed), name)))
    except SealBroken:
        log.warning("a webhook stays registered: the keys have changed", hook=name)
        return True
    try:
        answer = outbound.send(request)
    except NoAnswer as silence:
        return isinstance(silence_of(silence), Failed)
    return isinstance(judge(answer, "", None, now()), Done | Failed)


@step
def ask_again(workflow: str, partition: str, arguments: list[str], number: int, life: str = "") -> None:
    """Enqueue the next try. `life` tells it from the tries of an earlier address of the same child."""
    with transaction() as session:
        enqueue(
            session,
            workflow,
            *arguments,
            number + 1,
            queue=HOOKS,
            partition=partition,
            delay=WAITS[number - 1].total_seconds(),
            workflow_id=f"{workflow}-{partition}-{life or arguments[0]}-try-{number + 1}",
        )
