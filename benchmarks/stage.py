"""What the benchmarks run against: the portal, the sandbox shop, an endpoint and the yardstick, as child processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent.parent


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(command: list[str], env: dict[str, str], url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A child process, from the moment that `url` answers until the end of the block."""
    child = subprocess.Popen(command, env=env, cwd=HERE, start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(url, timeout=5):
                    break
            except OSError:
                if child.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{command} did not start") from None
                time.sleep(0.05)
        yield child
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)


@contextmanager
def on_processor(number: int) -> Iterator[None]:
    """This thread, and what it starts in the block, keep to one processor where the system can be told so.

    For telling two servers apart: on a shared machine one processor may be half as fast as its neighbour for a while,
    and a thread stays where it is. The same page of two equal portals then differed by as much as 1.5 times; on one
    processor by less than 1.1.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[number % len(before)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Endpoint(ThreadingHTTPServer):
    """A webhook endpoint that takes everything and notes when each event first arrived."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.arrived: dict[str, float] = {}
        self.payloads: dict[str, dict[str, Any]] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}/webhook"


class _Taking(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Endpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        event = self.headers["webhook-id"]
        self.server.arrived.setdefault(event, time.time())
        self.server.payloads[event] = json.loads(body)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def portal_environment(instance: Path, port: int, webhook_url: str, **more: str) -> dict[str, str]:
    """The environment of a portal that may call this machine."""
    return {
        **os.environ,
        "PYTHONPATH": str(HERE),
        "PORT": str(port),
        "PORTAL_INSTANCE": str(instance),
        "PORTAL_BASE_URL": f"http://127.0.0.1:{port}",
        "PORTAL_INSTALLATION_WEBHOOK_URL": webhook_url,
        "PORTAL_ALLOW_PRIVATE_NETWORK": "127.0.0.1",
        **more,
    }


def python(*arguments: str) -> list[str]:
    """This Python with a module's arguments."""
    return [sys.executable, "-m", *arguments]
