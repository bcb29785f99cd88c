"""Bodies of requests: read before the request takes its turn, and only so many at once.

A body comes as slowly as its sender likes; whoever reads it holds a thread all that time, and would hold the turn.
"""

from __future__ import annotations

import threading
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

LARGEST_BODY = 512_000  # bytes; a PEM key and a dozen fields fit many times over
AT_ONCE = 128  # that are read; the other threads of the server (`portal.server`) are for requests that are whole
PATIENCE = 1.0  # seconds that one waits for a place: most bodies take no time, so that a crowd is through by then
UNREAD = "portal.unread"  # where a request's WSGI environment says that its body was left alone
_WITHOUT = ("GET", "HEAD", "OPTIONS")


class Bodies:
    """Reads them; thread-safe."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(AT_ONCE)

    def read(self, environ: WSGIEnvironment) -> None:
        """Put the whole body in the place of its stream, or note that there was no place to wait for it."""
        most = _length(environ)
        if not most:
            return
        if not self._places.acquire(timeout=PATIENCE):
            environ[UNREAD] = True
            return
        try:
            # One byte over what is taken is enough to be refused for.
            environ["wsgi.input"] = BytesIO(environ["wsgi.input"].read(min(most, LARGEST_BODY + 1)))
        finally:
            self._places.release()


def _length(environ: WSGIEnvironment) -> int:
    """How many bytes the body has at the most."""
    given = environ.get("CONTENT_LENGTH") or ""
    if environ["REQUEST_METHOD"] in _WITHOUT:
        return 0
    if given.isascii() and given.isdigit():
        return int(given[:9])
    return LARGEST_BODY + 1 if environ.get("wsgi.input_terminated") else 0
