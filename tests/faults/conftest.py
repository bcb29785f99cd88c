"""The real server as a child process that can be killed, hung and started again on the same data."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from portal.sandbox.shop import Shop
from tests.stage import Made, Provider, free_port, wait_until

HERE = Path(__file__).parent.parent.parent


class Endpoint(Provider):
    """The vendor's endpoint: takes every webhook and notes its id."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        self.RequestHandlerClass = _Taking


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.events.append(self.headers["webhook-id"])  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@dataclass
class Server:
    """A portal in a process of its own; `start` and `kill` as often as a test likes."""

    env: dict[str, str]
    port: int
    log: Path
    child: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        with self.log.open("a") as output:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "portal.server"],
                cwd=HERE,
                env=self.env,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_until(self.is_ready, seconds=30)

    def is_ready(self) -> bool:
        assert self.child is not None
        assert self.child.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """kill -9 of everything that `start` started."""
        if self.child is not None and self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait(10)

    def get(self, link: Made) -> int:
        return self._status(f"/embedded-install?{urllib.parse.urlencode(link.query)}", None)

    def post(self, path: str, data: bytes) -> int:
        return self._status(path, data)

    def finish(self, link: Made, url: str, token: str, press: str = "press") -> int:
        facts = {**link.query, "press": press, "action": "finish"}
        facts |= {"magento-store_url": url, "magento-access_token": token}
        return self._status("/embedded-install", urllib.parse.urlencode(facts).encode())

    def _status(self, path: str, data: bytes | None) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data, timeout=40) as answer:
                answer.read()
                return int(answer.status)
        except urllib.error.HTTPError as refusal:
            refusal.read()
            return refusal.code


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """Where webhooks go."""
    taking = Endpoint()
    yield taking
    taking.shutdown()


@pytest.fixture
def server(
    app: Flask, instance: Path, shop: Shop, provider: Provider, endpoint: Endpoint, tmp_path: Path
) -> Iterator[Server]:
    """The portal as a process, on the same data folder as `app`."""
    port = free_port()
    env = {
        **os.environ,
        "PORT": str(port),
        "PORTAL_INSTANCE": str(instance),
        "PORTAL_BASE_URL": f"http://127.0.0.1:{port}",
        "PORTAL_ALLOW_PRIVATE_NETWORK": f"127.0.0.1:{shop.server_port} 127.0.0.0/8",
        "PORTAL_INSTALLATION_WEBHOOK_URL": f"{endpoint.url}/webhook",
        "PORTAL_EXECUTOR_ID": "the-one",
    }
    running = Server(env, port, tmp_path / "log")
    yield running
    running.kill()
