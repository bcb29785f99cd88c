"""A bulkhead: a bound on calls at once, per host and in all, so that one slow host can't sink the others."""

from __future__ import annotations

import threading


class Bulkhead:
    """Counts places; who finds none is turned away at once. Thread-safe."""

    def __init__(self, *, per_host: int, in_all: int) -> None:
        self.per_host, self.in_all = per_host, in_all
        self._lock = threading.Lock()
        self._taken: dict[str, int] = {}
        self._total = 0

    def enter(self, host: str) -> bool:
        """Take a place for a call to `host`; False when there is none."""
        with self._lock:
            taken = self._taken.get(host, 0)
            if taken >= self.per_host or self._total >= self.in_all:
                return False
            self._taken[host] = taken + 1
            self._total += 1
            return True

    def leave(self, host: str) -> None:
        """Give the place back."""
        with self._lock:
            self._total -= 1
            self._taken[host] -= 1
            if not self._taken[host]:
                del self._taken[host]

    @property
    def taken(self) -> int:
        """How many calls are under way."""
        return self._total
