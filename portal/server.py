"""`python -m portal.server`: the portal under Granian, the way of `make run` and of production."""

from __future__ import annotations

import os

from granian.constants import HTTPModes, Interfaces
from granian.server import Server

from portal.settings import MissingSetting, Settings, read_settings

# Enough threads for every call that may wait for a provider, and a good number for the pages of everybody else.
SPARE_THREADS = 64


def serve(settings: Settings, *, host: str, port: int, workers: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    Server(
        "portal.serving:app",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        workers=workers,
        blocking_threads=settings.in_all + SPARE_THREADS,
        log_enabled=settings.access_log,
        log_access=settings.access_log,
        # %(path)s comes without the query: tokens travel there.
        log_access_format='[%(time)s] %(addr)s "%(method)s %(path)s %(protocol)s" %(status)d %(dt_ms).3f',
        respawn_failed_workers=True,
        workers_kill_timeout=3,
    ).serve()


def main() -> None:
    """Read the settings and serve; what is missing is one sentence, not a traceback."""
    from portal.keys.ring import KeyRing

    try:
        settings = read_settings()
        if settings.is_production:
            KeyRing(settings).require_all()
    except MissingSetting as missing:
        raise SystemExit(str(missing)) from None
    serve(
        settings,
        host=os.environ.get("HOST", "127.0.0.1"),
        port=int(os.environ.get("PORT", "8000")),
        workers=int(os.environ.get("WORKERS", "1")),
    )


if __name__ == "__main__":
    main()
