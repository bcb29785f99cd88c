"""Webhooks of apps: registering an address at the app, taking it away again, telling true ones from false ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from portal.catalogue import App, build_request
from portal.catalogue.declarations import PLACE
from portal.catalogue.triggers import Webhook
from portal.credentials.models import InstallationCredential
from portal.credentials.rules import open_values
from portal.db import changes_one, settings_of
from portal.http import Request
from portal.ids import new_id
from portal.integrations.models import Integration
from portal.keys.ring import keys_of
from portal.runs.models import Run
from portal.runs.rules import TOGETHER, Item, record_items, require_room
from portal.runs.turns import hold_child
from portal.triggers.asking import search
from portal.triggers.errors import AddressChanging, NotAnItem, SignatureWrong, TooManyItems, UnknownAddress
from portal.triggers.models import Hook
from portal.triggers.rules import enqueue_hook_work, hash_address, trigger_of
from portal.workflows.models import ChildWorkflow, Workflow


@dataclass(frozen=True)
class Listening:
    """A child that gets webhooks: with which app, how that is declared, and with which values."""

    child: ChildWorkflow
    app: App
    webhook: Webhook
    values: dict[str, str]


def listening(session: Session, hook: Hook, catalogue: Mapping[str, App]) -> Listening | None:
    """What a hook is for; None when its app, its declaration or its credential is gone."""
    child = hook.child
    trigger = trigger_of(child)
    workflow = session.get_one(Workflow, child.workflow_id)
    name = trigger.app or session.get_one(Integration, workflow.integration_id).apps[0]
    app = catalogue.get(name)
    declared = app.triggers.get(trigger.name) if app else None
    row = session.get(InstallationCredential, (child.installation_id, name))
    if app is None or declared is None or declared.webhook is None or row is None:
        return None
    keys = keys_of(session)
    own = json.loads(keys.open(hook.sealed, hook.child_id))
    values = {
        **open_values(keys, row.credential),
        "hook_url": f"{settings_of(session).base_url}/hooks/{own['address']}",
        "hook_secret": own["secret"],
        "hook_id": hook.hook_id or "",
    }
    return Listening(child, app, declared.webhook, values)


def find_hook(session: Session, address: str) -> Hook:
    """The hook at this address. Raises `UnknownAddress`."""
    found = session.scalar(
        sa.select(Hook)
        .where(Hook.address_hash == hash_address(address))
        .options(joinedload(Hook.child).joinedload(ChildWorkflow.version))
    )
    if found is None or not found.child.is_active or found.child.removed_at is not None:
        raise UnknownAddress
    return found


def receive(
    session: Session, hook: Hook, catalogue: Mapping[str, App], headers: Mapping[str, str], body: bytes, now: datetime
) -> list[Run]:
    """Take a webhook: a run for each item in it that was not seen.

    Raises `SignatureWrong`, `NotAnItem`, `TooManyItems`, `NoRoom`, `AddressChanging`.
    """
    found = listening(session, hook, catalogue)
    if found is None:
        raise UnknownAddress
    if not is_signed(found, headers, body):
        raise SignatureWrong
    items = _items_in(found.webhook, body)
    if not hold_child(session, found.child.id):
        raise AddressChanging
    require_room(session, found.child)
    made = record_items(session, found.child, items, trigger="webhook", now=now)
    _note_receipt(session, hook, now)
    return made


def _items_in(webhook: Webhook, body: bytes) -> list[Item]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise NotAnItem from None
    found = search(webhook.items, data)
    if found is None:
        raise NotAnItem
    items = found if isinstance(found, list) else [found]
    if len(items) > TOGETHER:
        raise TooManyItems(len(items))
    return [Item(item, _key(webhook, item)) for item in items]


def _note_receipt(session: Session, hook: Hook, now: datetime) -> None:
    same = Hook.child_id == hook.child_id, Hook.address_hash == hook.address_hash
    if not changes_one(session, sa.update(Hook).where(*same).values(received_at=now)):
        raise AddressChanging


def _key(webhook: Webhook, item: Any) -> str | None:
    key = search(webhook.key, item) if webhook.key else None
    return None if key is None else str(key)


def is_signed(found: Listening, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a webhook carries the signature that its app declares; without one, its address is the proof."""
    declared = found.webhook.signature
    if declared is None:
        return True
    secret = _fill(declared.secret, found.values)
    digest = hmac.new(secret.encode(), body, getattr(hashlib, declared.hmac)).digest()
    text = digest.hex() if declared.encoding == "hex" else base64.b64encode(digest).decode()
    return bool(secret) and hmac.compare_digest(
        {name.lower(): value for name, value in headers.items()}.get(declared.header.lower(), "").strip().encode(),
        (declared.prefix + text).encode(),
    )


def _fill(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return PLACE.sub(lambda match: values.get(match[1], ""), value)
    if isinstance(value, Mapping):
        return {key: _fill(item, values) for key, item in value.items()}
    return [_fill(item, values) for item in value] if isinstance(value, list) else value


def registration_of(found: Listening) -> Request | None:
    """The request that registers the address at the app, where the app declares one."""
    declared = found.webhook.register_
    if declared is None:
        return None
    body = _fill(declared.body, found.values)
    return build_request(found.app, found.values, method="POST", path=declared.post, query={}, headers={}, body=body)


def take_away(session: Session, found: Listening) -> None:
    """Enqueue the request that takes a registration away, where the app declares one."""
    declared = found.webhook.register_
    if declared is None or declared.delete is None or not found.values["hook_id"]:
        return
    try:
        request = build_request(found.app, found.values, method="DELETE", path=declared.delete, query={}, headers={})
    except (ValueError, KeyError):  # its declaration has changed: then it can't be told
        return
    name = new_id()
    sealed = keys_of(session).seal(json.dumps({**asdict(request), "body": None}).encode(), name)
    enqueue_hook_work(session, "remove_hook", name, base64.b64encode(sealed).decode(), 1, partition=found.child.id)
