"""`python -m portal.server`: the portal under Granian, the way of `make run` and of production.

This process only watches the one that serves, and stays light: settings are read by `portal.serving`.
"""

from __future__ import annotations

import copy
import logging
import os
import re
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.log import LOGGING_CONFIG
from granian.server import Server

# One for every call that may wait for a provider (`in_all`, at most 256), and enough for everybody else's pages.
THREADS = 320


class WithoutHooks(logging.Filter):
    """Keeps the addresses of hooks out of the access log: who knows one can reach it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Write the line, with `/hooks/…` for such a path."""
        if isinstance(record.args, dict):
            record.args = {
                **record.args,
                "path": re.sub(r"/hooks/.*", "/hooks/…", str(record.args.get("path")), flags=re.S | re.I),
            }
        return True


def log_config() -> dict[str, Any]:
    """Granian's own, with that filter before the access log."""
    config: dict[str, Any] = copy.deepcopy(LOGGING_CONFIG)
    config["filters"] = {"without_hooks": {"()": "portal.server.WithoutHooks"}}
    config["handlers"]["access"]["filters"] = ["without_hooks"]
    return config


def main() -> None:
    """Serve on HOST and PORT until SIGTERM or SIGINT. To use more machines, start one server on each of them."""
    access_log = os.environ.get("PORTAL_ACCESS_LOG", "").lower() in ("1", "true", "yes")
    Server(
        "portal.serving:app",
        address=os.environ.get("HOST", "127.0.0.1"),
        port=int(os.environ.get("PORT", "8000")),
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        workers=1,
        blocking_threads=THREADS,
        log_enabled=access_log,
        log_access=access_log,
        log_dictconfig=log_config(),
        # %(path)s comes without the query: tokens travel there.
        log_access_format='[%(time)s] %(addr)s "%(method)s %(path)s %(protocol)s" %(status)d %(dt_ms).3f',
        workers_kill_timeout=3,
    ).serve()


if __name__ == "__main__":
    main()
