"""`python -m portal.server`: the portal under Granian, the way of `make run` and of production.

This process only watches the one that serves, and stays light: settings are read by `portal.serving`.
"""

from __future__ import annotations

import os

from granian.constants import HTTPModes, Interfaces
from granian.server import Server

# One for every call that may wait for a provider (`in_all`, at most 256), and enough for everybody else's pages.
THREADS = 320


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
        # %(path)s comes without the query: tokens travel there.
        log_access_format='[%(time)s] %(addr)s "%(method)s %(path)s %(protocol)s" %(status)d %(dt_ms).3f',
        workers_kill_timeout=3,
    ).serve()


if __name__ == "__main__":
    main()
