"""`python -m portal.demo`, which is `make run`: the portal, the sandbox shop and a webhook listener on three ports.

It serves the two small ones itself, and starts, watches and ends the portal; it imports nothing heavy.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path

from portal.events.listener import Listener
from portal.sandbox.shop import Shop
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


def neighbours(port: int, settings: dict[str, str]) -> list[ThreadingHTTPServer]:
    """The shop, and the listener where the demo's own endpoint is used; they are light, and live in this process."""
    instance = Path(settings["PORTAL_INSTANCE"])
    servers: list[ThreadingHTTPServer] = []
    urls = (settings["PORTAL_INSTALLATION_WEBHOOK_URL"], settings["PORTAL_DEMO_INGEST_URL"])
    wants_listener = any(url.startswith(f"http://127.0.0.1:{port + 2}/") for url in urls)
    number = port + 1
    try:
        servers.append(Shop(instance, number))
        if wants_listener:
            number = port + 2
            servers.append(Listener(instance, number))
    except OSError as error:
        sys.exit(f"The demo can't use port {number}: {error.strerror}. Choose another with PORT=.")
    for server in servers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True).start()
    return servers


def main() -> None:
    """Start everything, stay in the foreground, end everything."""
    try:
        port = int(os.environ.get("PORT", "8000"))
    except ValueError:
        sys.exit("PORT must be a number, such as PORT=8000.")
    settings = environment(port)
    print(f"Sandbox shop: http://127.0.0.1:{port + 1}", flush=True)
    print(f"Sandbox access token: {read_token(Path(settings['PORTAL_INSTANCE']))}", flush=True)

    # A plain list: a handler runs in the middle of anything, and must not wait for a lock that its own thread holds.
    ended: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: ended.append(received))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what the listener prints comes from anywhere
    neighbours(port, settings)
    portal = subprocess.Popen([sys.executable, "-m", "portal.server"], env=settings, start_new_session=True)
    while not ended:
        time.sleep(0.1)
        if portal.poll() is not None and not ended:
            print("The portal has ended, so the rest ends too. What it said stands above.", file=sys.stderr)
            break
    end(portal)
    sys.exit(0 if ended else 1)


def end(child: subprocess.Popen[bytes]) -> None:
    """End the child with all that it started: kindly first, then for good."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            return
        try:
            child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            continue


if __name__ == "__main__":
    main()
