"""The shop's server: Magento's routes and refusals, and one page that shows the orders."""

from __future__ import annotations

import hmac
import json
import re
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from jinja2 import Environment, FileSystemLoader

from portal.sandbox.hooks import add_webhook, list_webhooks, remove_webhook
from portal.sandbox.search import BadSearch, find, read_search
from portal.sandbox.store import NAME, list_orders, open_orders, read_limited_token, read_token, store_config

TEMPLATES = Path(__file__).parent.parent.parent / "templates"
_ROUTE = re.compile(r"/rest(?:/(?:default|all))?/V1(/.*)")
# As Magento answers: https://developer.adobe.com/commerce/webapi/get-started/gs-web-api-response/
_NOT_ALLOWED = "The consumer isn't authorized to access %resources."
_NO_ROUTE = {"message": "Request does not match any route."}
_NO_ENTITY = {"message": "The entity that was requested doesn't exist. Verify the entity and try again."}
_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

LARGEST = 100_000  # bytes of a request's body

Reply = tuple[int, str, bytes]


class Shop(ThreadingHTTPServer):
    """The sandbox shop on `host`:`port` (0 picks one), with its data in `instance`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, instance: Path, port: int, host: str = "127.0.0.1") -> None:
        super().__init__((host, port), _Handler)
        self.url = f"http://{host}:{self.server_port}"
        self.token = read_token(instance)
        self.limited_token = read_limited_token(instance)
        self.instance = instance
        self._local = threading.local()
        self.pages = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
        self._config = json.dumps(store_config(self.url)).encode()

    def orders(self) -> sqlite3.Connection:
        """This thread's connection to the orders."""
        if not hasattr(self._local, "orders"):
            self._local.orders = open_orders(self.instance)
        return self._local.orders  # type: ignore[no-any-return]

    def answer(self, target: str, authorization: str) -> Reply:
        """Status, media type and body for a GET of `target`."""
        parts = urlsplit(target)
        if match := _ROUTE.fullmatch(parts.path):
            status, document = self._api(match[1].rstrip("/"), parts.query, authorization)
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            return status, "application/json; charset=utf-8", body
        if parts.path == "/":
            page = self.pages.get_template("sandbox/orders.html")
            orders = list_orders(self.orders())[::-1]
            return (
                200,
                "text/html; charset=utf-8",
                page.render(name=NAME, url=self.url, orders=orders).encode(),
            )
        if parts.path == "/style.css":
            return 200, "text/css", (TEMPLATES / "sandbox/style.css").read_bytes()
        return 404, "text/plain; charset=utf-8", b"There is nothing here. The orders are at /"

    def change(self, method: str, target: str, authorization: str, body: bytes) -> Reply:
        """Status, media type and body for a POST or DELETE of `target`: webhooks are registered and taken away."""
        match = _ROUTE.fullmatch(urlsplit(target).path)
        status, document = (
            self._change(method, match[1].rstrip("/"), authorization, body) if match else (404, _NO_ROUTE)
        )
        return status, "application/json; charset=utf-8", json.dumps(document).encode()

    def _change(self, method: str, path: str, authorization: str, body: bytes) -> tuple[int, Any]:
        hook = re.fullmatch(r"/webhooks(?:/(\d+))?", path)
        if hook is None or (method == "POST") == bool(hook[1]):
            return 404, _NO_ROUTE
        refusal = self._refusal(authorization, "Magento_Webhook::webhooks")
        if refusal is not None:
            return refusal
        if method == "DELETE":
            return (200, True) if remove_webhook(self.instance, int(hook[1])) else (404, _NO_ENTITY)
        try:
            wanted = json.loads(body)
        except ValueError:
            wanted = None
        made = add_webhook(self.instance, wanted) if isinstance(wanted, dict) else None
        return (200, made) if made else (400, {"message": "A webhook needs a url and a secret."})

    def _refusal(self, authorization: str, resource: str) -> tuple[int, Any] | None:
        refused = {"message": _NOT_ALLOWED, "parameters": {"resources": resource}}
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(token.encode(), self.limited_token.encode()):
            return 403, refused
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), self.token.encode()):
            return 401, refused
        return None

    def _api(self, path: str, query: str, authorization: str) -> tuple[int, Any]:
        routes = {
            "/store/storeConfigs": "Magento_Backend::store",
            "/orders": "Magento_Sales::sales",
            "/webhooks": "Magento_Webhook::webhooks",
        }
        order = re.fullmatch(r"/orders/(\d+)", path)
        if path not in routes and not order:
            return 404, _NO_ROUTE
        refusal = self._refusal(authorization, routes.get(path, "Magento_Sales::sales"))
        if refusal is not None:
            return refusal
        if order:
            found = self.orders().execute("SELECT document FROM orders WHERE id = ?", (int(order[1]),)).fetchone()
            return (200, json.loads(found[0])) if found else (404, _NO_ENTITY)
        if path == "/orders":
            return self._search(query)
        if path == "/webhooks":
            return 200, [
                {"id": number, "topic": "order", "url": url} for number, url, _ in list_webhooks(self.instance)
            ]
        return 200, self._config

    def _search(self, query: str) -> tuple[int, Any]:
        pairs = parse_qsl(query, keep_blank_values=True)
        if not any(name.startswith("searchCriteria") for name, _ in pairs):
            return 400, {
                "message": '"%fieldName" is required. Enter and try again.',
                "parameters": {"fieldName": "searchCriteria"},
            }
        try:
            search = read_search(pairs)
        except BadSearch as error:
            return 400, {"message": str(error)}
        items, total = find(list_orders(self.orders()), search)
        return 200, {"items": items, "search_criteria": search.echo(), "total_count": total}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Shop
    timeout = 60
    wbufsize = -1  # one packet for head and body

    def do_GET(self) -> None:
        self._reply(*self.server.answer(self.path, self.headers.get("Authorization", "")))

    do_HEAD = do_GET

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        body = self.rfile.read(min(int(length), LARGEST)) if length.isascii() and length.isdigit() else b""
        self._reply(*self.server.change(self.command, self.path, self.headers.get("Authorization", ""), body))

    do_DELETE = do_POST

    def _reply(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if media_type.startswith("text/html"):
            self.send_header("Content-Security-Policy", _POLICY)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass  # the terminal belongs to the portal
