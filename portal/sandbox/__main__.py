"""`python -m portal.sandbox --instance DIR --port N`: the sandbox shop in the foreground."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from portal.sandbox.shop import Shop


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="portal.sandbox", description="The sandbox shop.")
    parser.add_argument("--instance", type=Path, default=Path("instance"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001)
    given = parser.parse_args()
    try:
        shop = Shop(given.instance, given.port, given.host)
    except OSError as error:
        sys.exit(f"The sandbox shop can't use port {given.port}: {error.strerror}. Choose another with PORT=.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        shop.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
