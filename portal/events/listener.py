"""A test endpoint: prints each delivery and whether its signatures hold. Light: no database, no engine, no Flask."""

from __future__ import annotations

import argparse
import io
import json
import re
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from portal.events.signing import alloy_signature_holds, standard_signature_holds
from portal.keys.reading import read_public_key, read_secrets

LARGEST = 1_000_000
# Anybody on this machine can post here: what could steer a terminal is printed as its code.
_STEERING = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Received:
    """One delivery as it came in."""

    at: datetime
    path: str
    headers: Mapping[str, str]
    body: bytes
    alloy_holds: bool
    standard_holds: bool

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "at": self.at.isoformat(timespec="milliseconds"),
            "path": self.path,
            "webhookId": self.headers.get("webhook-id"),
            "signatures": {"X-Alloy-Signature": self.alloy_holds, "webhook-signature": self.standard_holds},
            "body": self.body.decode("utf-8", "replace"),
        }

    def as_text(self) -> str:
        """For people."""
        try:
            body = json.dumps(json.loads(self.body), ensure_ascii=False, indent=2)
        except (ValueError, RecursionError):
            body = self.body.decode("utf-8", "replace")

        def verdict(holds: bool) -> str:
            return "verified" if holds else "DOES NOT HOLD"

        return (
            f"\nWebhook received at {self.at:%H:%M:%S} UTC: {_plain(self.path)} "
            f"(webhook-id {_plain(self.headers.get('webhook-id', 'missing'))})\n"
            f"  X-Alloy-Signature: {verdict(self.alloy_holds)}\n"
            f"  webhook-signature: {verdict(self.standard_holds)}\n"
            + "\n".join(f"  {_plain(line)}" for line in body.split("\n"))
        )


def _plain(text: str) -> str:
    return _STEERING.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


class Listener(ThreadingHTTPServer):
    """The endpoint. `origin` is the address that deliveries are configured with, scheme to port.

    Keys are read for each delivery, so that it can be started before they are made and sees them rotate.
    """

    daemon_threads = True

    def __init__(
        self, instance: Path, port: int, *, host: str = "127.0.0.1", origin: str = "", as_json: bool = False
    ) -> None:
        super().__init__((host, port), _Handler)
        self.instance, self.as_json = instance, as_json
        self.origin = origin or f"http://{host}:{self.server_port}"
        self._printing = threading.Lock()

    def receive(self, path: str, headers: Mapping[str, str], body: bytes) -> Received:
        """Check one delivery. Raises OSError when there are no keys yet."""
        key, signature = read_public_key(self.instance), headers.get("x-alloy-signature", "")
        # A URL without a path is asked for as "/", but signed as it was configured.
        urls = [self.origin + path] + ([self.origin] if path == "/" else [])
        return Received(
            at=datetime.now(UTC),
            path=path,
            headers=headers,
            body=body,
            alloy_holds=any(alloy_signature_holds(key, signature, url=url, body=body) for url in urls),
            standard_holds=standard_signature_holds(read_secrets(self.instance), headers, body),
        )

    def show(self, received: Received) -> None:
        """Print it, one delivery at a time."""
        with self._printing:
            print(
                json.dumps(received.as_json(), ensure_ascii=False) if self.as_json else received.as_text(),
                flush=True,
            )


class _Handler(BaseHTTPRequestHandler):
    server: Listener
    timeout = 30

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            return self.send_error(411, "Send the body with its Content-Length")
        if len(length) > len(str(LARGEST)) or int(length) > LARGEST:
            return self.send_error(413, f"A body can have {LARGEST} bytes here")
        headers, body = {name.lower(): value for name, value in self.headers.items()}, self.rfile.read(int(length))
        try:
            received = self.server.receive(self.path, headers, body)
        except OSError:
            print(f"There are no webhook keys in {self.server.instance}: start the portal once.", file=sys.stderr)
            return self.send_error(503, "There are no keys to check with yet")
        self.server.show(received)
        self.send_response(204)
        return self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass  # `show` prints what there is to say


def listen(instance: Path, port: int, *, host: str, url: str = "", as_json: bool = False) -> None:
    """Serve until SIGTERM or SIGINT. `url` is the configured webhook URL when it isn't this host and port."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
    try:
        listener = Listener(instance, port, host=host, origin=origin, as_json=as_json)
    except OSError as error:
        sys.exit(f"The listener can't use port {port}: {error.strerror}. Choose another one.")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a lone surrogate, or a terminal that isn't UTF-8
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        listener.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        pass


def main() -> None:
    """`python -m portal.events.listener`: what `flask webhook listen` does, without loading the portal."""
    parser = argparse.ArgumentParser(prog="portal.events.listener", description="Prints each webhook that comes in.")
    parser.add_argument("--instance", type=Path, default=Path("instance"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8002)
    parser.add_argument("--url", default="", help="the webhook URL as it is configured")
    parser.add_argument("--json", action="store_true", help="print one JSON document a line")
    given = parser.parse_args()
    listen(given.instance, given.port, host=given.host, url=given.url, as_json=given.json)


if __name__ == "__main__":
    main()
