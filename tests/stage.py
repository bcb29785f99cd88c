"""What tests stand on: a hostile provider, behaviours for it, a link as a test holds it, waiting without sleeping."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import sqlalchemy as sa
from flask import Flask

Behaviour = Callable[[BaseHTTPRequestHandler], None]


class Provider(ThreadingHTTPServer):
    """A provider that behaves as the test says; it counts its calls and keeps their headers."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ProviderHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.behave: Behaviour = answer(200, b'[{"store_name": "Hostile Store"}]')
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.closing = threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that hangs up is what these tests are about


class _ProviderHandler(BaseHTTPRequestHandler):
    server: Provider
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.calls.append((self.path, dict(self.headers)))
        self.close_connection = True
        self.server.behave(self)

    def log_message(self, *_: Any) -> None:
        pass


def answer(status: int, body: bytes = b"{}", **headers: str) -> Behaviour:
    """Answer like this."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def hang(handler: BaseHTTPRequestHandler) -> None:
    """Take the request and say nothing."""
    handler.server.closing.wait(30)  # type: ignore[attr-defined]


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Send a byte now and then, for as long as anybody listens."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    with suppress(OSError):
        while not handler.server.closing.wait(0.05):  # type: ignore[attr-defined]
            handler.wfile.write(b" ")


def pour(handler: BaseHTTPRequestHandler) -> None:
    """Send a hundred megabytes."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000000")
    handler.end_headers()
    with suppress(OSError):
        for _ in range(100):
            handler.wfile.write(b" " * 1_000_000)


@dataclass
class Made:
    """A link that a test may open."""

    id: str
    url: str
    user_id: str
    query: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.query = {name: values[0] for name, values in parse_qs(urlsplit(self.url).query).items()}


MakeLink = Callable[..., Made]


def wait_until(is_true: Callable[[], bool], *, seconds: float = 60) -> None:
    """Wait for a condition in another process or thread; fail when it never comes true."""
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, "this never came true"
        threading.Event().wait(0.02)


@contextmanager
def breaking(engine: sa.Engine, part: str, error: Exception, *, times: int) -> Iterator[list[str]]:
    """Let the first statements that hold this part fail with this error, so many of them; which it were."""
    broken: list[str] = []

    def fail(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if part in statement and len(broken) < times:
            broken.append(statement)
            raise error

    sa.event.listen(engine, "before_cursor_execute", fail)
    try:
        yield broken
    finally:
        sa.event.remove(engine, "before_cursor_execute", fail)


LOCKED = sa.exc.OperationalError("", {}, Exception("database is locked"))


def close(app: Flask) -> None:
    """Let go of what a portal holds."""
    for name in ("outbound", "background_outbound"):
        app.extensions[name].close()
    app.extensions["database"].engine.dispose()


def free_port() -> int:
    """A port that nobody listens on, nor on the two after it, which `make run` takes as well.

    Below those that the system hands out by itself, so that no other test's connection or server comes in between.
    """
    while True:
        port = random.randrange(20_000, 32_000, 4)
        with suppress(OSError), ExitStack() as probes:
            for number in range(port, port + 3):
                probes.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return port
