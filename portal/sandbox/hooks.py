"""Webhooks of the sandbox shop: who wants to hear of a new order, and telling them, signed as its declaration says."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from portal.sandbox.store import open_orders

HEADER = "X-Sandbox-Signature"
_COLUMNS = "id INTEGER PRIMARY KEY AUTOINCREMENT, url TEXT NOT NULL, secret TEXT NOT NULL"


def _open(instance: Path) -> sqlite3.Connection:
    connection = open_orders(instance)
    connection.execute(f"CREATE TABLE IF NOT EXISTS webhooks ({_COLUMNS})")
    return connection


def add_webhook(instance: Path, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Register an address for new orders; None when it can't be one."""
    url, secret = wanted.get("url"), wanted.get("secret", "")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")) or not isinstance(secret, str):
        return None
    with closing(_open(instance)) as connection, connection:
        cursor = connection.execute("INSERT INTO webhooks (url, secret) VALUES (?, ?)", (url, secret))
        return {"id": cursor.lastrowid, "topic": "order", "url": url}


def remove_webhook(instance: Path, number: int) -> bool:
    """Take a registration away; whether there was one."""
    with closing(_open(instance)) as connection, connection:
        return connection.execute("DELETE FROM webhooks WHERE id = ?", (number,)).rowcount == 1


def list_webhooks(instance: Path) -> list[tuple[int, str, str]]:
    """(id, url, secret) of every registration."""
    with closing(_open(instance)) as connection:
        return connection.execute("SELECT id, url, secret FROM webhooks ORDER BY id").fetchall()


def tell_webhooks(instance: Path, order: Mapping[str, Any]) -> int:
    """Send an order to everybody who wants to hear of it; how many took it."""
    body, taken = json.dumps(order).encode(), 0
    for _, url, secret in list_webhooks(instance):
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", HEADER: signature}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=5) as answer:  # noqa: S310
                taken += answer.status < 300
        except OSError:
            continue
    return taken
