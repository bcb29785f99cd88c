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

from portal.background import durable, enqueue, step
from portal.clock import now
from portal.db import transaction
from portal.http import NoAnswer, NotJSON, Outbound, Request
from portal.keys.ring import KeyRing, SealBroken
from portal.runs.executing import judge, silence_of
from portal.runs.outcomes import Done, Failed
from portal.triggers import polling  # noqa: F401 - importing is what declares the watcher
from portal.triggers.asking import search
from portal.triggers.hooks import listening, registration_of, take_away
from portal.triggers.models import Hook
from portal.triggers.rules import HOOKS

log = structlog.get_logger(__name__)

WAITS = tuple(timedelta(seconds=s) for s in (2, 30, 300, 3600, 6 * 3600, 24 * 3600))


@durable(HOOKS)
def register_hook(child_id: str, number: int = 1) -> None:
    """Register a child's address at its app; again later when that fails."""
    if not register_at_app(child_id) and number <= len(WAITS):
        ask_again("register_hook", child_id, [child_id], number)


@step
def register_at_app(child_id: str) -> bool:
    """Whether there is nothing left to do. An address that is registered already is left alone."""
    with transaction() as session:
        hook = session.get(Hook, child_id)
        if hook is None or hook.hook_id is not None:
            return True
        address = hook.address_hash
        found = listening(session, hook, current_app.extensions["catalogue"])
        request = registration_of(found) if found else None
        if found is None or request is None:
            return True
        declared = found.webhook.register_
        assert declared is not None
    reply, because = _send(request)
    name = search(declared.id, reply) if because is None else None
    if because is None and name in (None, ""):
        because = f"{found.app.title} registered the address, but did not say under which name."
    registered = {"hook_id": str(name)[:255], "registered_at": now()} if because is None else {}
    with transaction() as session:
        still = session.execute(
            sa.update(Hook)
            .where(Hook.child_id == child_id, Hook.address_hash == address, Hook.hook_id.is_(None))
            .values(error=because, **registered)
            .execution_options(synchronize_session=False)
        )
        if still.rowcount != 1 and because is None:  # type: ignore[attr-defined]
            # Stopped while the app was asked: nobody would know of what it has just registered.
            take_away(session, replace(found, values={**found.values, "hook_id": str(name)}))
    return because is None


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
def ask_again(workflow: str, partition: str, arguments: list[str], number: int) -> None:
    """Enqueue the next try."""
    with transaction() as session:
        enqueue(
            session,
            workflow,
            *arguments,
            number + 1,
            queue=HOOKS,
            partition=partition,
            delay=WAITS[number - 1].total_seconds(),
            workflow_id=f"{workflow}-{partition}-{arguments[0]}-try-{number + 1}",
        )
