"""`python -m portal.demo`, which is `make run`: the portal, the sandbox shop and a webhook listener on three ports.

It only starts, watches and ends these; it imports nothing heavy.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from portal.sandbox.store import read_token

PATIENCE = 4.0  # seconds that the others get to end by themselves


def environment(port: int) -> dict[str, str]:
    """The settings of the demo; whatever is set already stays."""
    shop, listener = f"127.0.0.1:{port + 1}", f"http://127.0.0.1:{port + 2}"
    defaults = {
        "PORTAL_BASE_URL": f"http://127.0.0.1:{port}",
        "PORTAL_INSTALLATION_WEBHOOK_URL": f"{listener}/webhook",
        "PORTAL_DEMO_INGEST_URL": f"{listener}/ingest",
        "PORTAL_ALLOW_PRIVATE_NETWORK": f"{shop},localhost:{port + 1}",
        "PORTAL_VENDOR_NAME": "Demo Vendor",
        "PORTAL_INSTANCE": "instance",
    }
    return {**defaults, **os.environ, "PORT": str(port), "PORTAL_DEMO": "1"}


def commands(port: int, settings: dict[str, str]) -> list[list[str]]:
    """What to start: the shop, the listener where the demo's own endpoint is used, and the portal."""
    python, instance = [sys.executable, "-m"], settings["PORTAL_INSTANCE"]
    started = [[*python, "portal.sandbox", "--instance", instance, "--port", str(port + 1)]]
    urls = (settings["PORTAL_INSTALLATION_WEBHOOK_URL"], settings["PORTAL_DEMO_INGEST_URL"])
    if any(url.startswith(f"http://127.0.0.1:{port + 2}/") for url in urls):
        started.append([*python, "portal.events.listener", "--instance", instance, "--port", str(port + 2)])
    return [*started, [*python, "portal.server"]]


def main() -> None:
    """Start everything, stay in the foreground, end everything."""
    try:
        port = int(os.environ.get("PORT", "8000"))
    except ValueError:
        sys.exit("PORT must be a number, such as PORT=8000.")
    settings = environment(port)
    print(f"Sandbox shop: http://127.0.0.1:{port + 1}", flush=True)
    print(f"Sandbox access token: {read_token(Path(settings['PORTAL_INSTANCE']))}", flush=True)

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    children = [subprocess.Popen(command, env=settings, start_new_session=True) for command in commands(port, settings)]
    while not ended.wait(0.2):
        if any(child.poll() is not None for child in children):
            print("A part of the portal has ended, so the rest ends too. What it said stands above.", file=sys.stderr)
            break
    end(children)
    sys.exit(0 if ended.is_set() else 1)


def end(children: list[subprocess.Popen[bytes]]) -> None:
    """End the children, each with all that it started: kindly first, then for good."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for child in children:
            try:
                os.killpg(child.pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + PATIENCE
        for child in children:
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                break


if __name__ == "__main__":
    main()
