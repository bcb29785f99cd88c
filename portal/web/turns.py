"""Turns: requests are worked on one after the other in a process, because Python threads that contend cost more.

Each look into SQLite gives the interpreter's lock away and has to win it back; with eight requests at once a page took
1.1 ms of processor time instead of 0.4 (see docs/decisions). Whoever has to wait for somebody else, a provider above
all, leaves the turn first.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from flask import request

TURN = "portal.turn"  # where a request's turn stands in its WSGI environment

_PATIENCE = 0.05  # seconds; who waited this long goes ahead all the same
_lock = threading.Lock()


class Turn:
    """One request's turn; a context manager around the whole request."""

    def __init__(self) -> None:
        self._is_held = False

    def __enter__(self) -> Turn:
        self.take()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.leave()

    def take(self) -> None:
        """Wait for the turn, for a moment."""
        self._is_held = _lock.acquire(timeout=_PATIENCE)

    def leave(self) -> None:
        """Let the next one go ahead."""
        if self._is_held:
            self._is_held = False
            _lock.release()


@contextmanager
def while_waiting() -> Iterator[None]:
    """Let the others go ahead for the length of the block: in it, this request waits for somebody else."""
    turn: Turn = request.environ[TURN]
    turn.leave()
    try:
        yield
    finally:
        turn.take()
