"""What the sandbox shop knows: its tokens and its orders, in the data folder, shared between processes."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NAME = "Luma Store"
_ITEMS = (
    ("24-MB01", "Joust Duffle Bag", 34.0),
    ("24-WG085", "Sprite Yoga Strap", 14.0),
    ("MH01", "Chaz Hoodie", 52.0),
)
_PEOPLE = (("Veronica", "Costello", "US"), ("Jürgen", "Öz", "DE"), ("Amélie", "Noël", "FR"))


def read_token(instance: Path, *, name: str = "sandbox-token") -> str:
    """The shop's access token; made once, readable by the owner of the data folder alone."""
    path = instance / name
    if not path.exists():
        instance.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(16))
        try:
            os.link(fresh, path)  # of two processes at once, the first one's token stays
        except FileExistsError:
            pass
        fresh.unlink()
    return path.read_text().strip()


def read_limited_token(instance: Path) -> str:
    """A token that the shop knows but that may read nothing, to try a 403 with."""
    return read_token(instance, name="sandbox-limited-token")


def open_orders(instance: Path) -> sqlite3.Connection:
    """The database of orders, made when it isn't there; `order` holds each one's JSON."""
    instance.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(instance / "sandbox.sqlite3", timeout=5, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY AUTOINCREMENT, document TEXT NOT NULL)"
    )
    return connection


def list_orders(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Every order, oldest first."""
    return [json.loads(row[0]) for row in connection.execute("SELECT document FROM orders ORDER BY id")]


def add_order(instance: Path, at: datetime | None = None, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Make one new order, as a customer would, and return it. `changes` overrides fields of it."""
    with closing(open_orders(instance)) as connection, connection:
        cursor = connection.execute("INSERT INTO orders (document) VALUES ('{}')")
        assert cursor.lastrowid is not None
        order = _order(cursor.lastrowid, at or datetime.now(UTC)) | dict(changes or {})
        connection.execute("UPDATE orders SET document = ? WHERE id = ?", (json.dumps(order), cursor.lastrowid))
    return order


def _order(number: int, at: datetime) -> dict[str, Any]:
    sku, name, price = _ITEMS[number % len(_ITEMS)]
    first, last, country = _PEOPLE[number % len(_PEOPLE)]
    moment = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return {
        "entity_id": number,
        "increment_id": f"{number:09d}",
        "store_id": 1,
        "store_name": f"Main Website\n{NAME}\nDefault Store View",
        "state": "new",
        "status": "pending",
        "created_at": moment,
        "updated_at": moment,
        "customer_email": f"{first.lower()}@example.com",
        "customer_firstname": first,
        "customer_lastname": last,
        "base_currency_code": "USD",
        "order_currency_code": "USD",
        "subtotal": price,
        "shipping_amount": 5.0,
        "grand_total": price + 5.0,
        "total_item_count": 1,
        "total_qty_ordered": 1,
        "items": [
            {
                "item_id": number,
                "order_id": number,
                "sku": sku,
                "name": name,
                "qty_ordered": 1,
                "price": price,
                "row_total": price,
            }
        ],
        "billing_address": {
            "firstname": first,
            "lastname": last,
            "street": ["1 Sample Street"],
            "city": "Sampleton",
            "postcode": "12345",
            "country_id": country,
            "telephone": "555-0100",
        },
        "payment": {"method": "checkmo"},
    }


def store_config(base_url: str) -> list[dict[str, Any]]:
    """The reply to /V1/store/storeConfigs; `store_name` is ours, Magento has none there."""
    url = f"{base_url}/"
    urls = {
        f"{secure}base{kind}_url": url + path
        for secure in ("", "secure_")
        for kind, path in (("", ""), ("_link", ""), ("_static", "static/"), ("_media", "media/"))
    }
    return [
        {
            "id": 1,
            "code": "default",
            "website_id": 1,
            "locale": "en_US",
            "base_currency_code": "USD",
            "default_display_currency_code": "USD",
            "timezone": "UTC",
            "weight_unit": "lbs",
            **urls,
            "store_name": NAME,
        }
    ]
