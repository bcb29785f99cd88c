"""How much one caller may ask for: counted per API key, per user token, and per address for everybody else.

`limits` counts; the headers are ours, because they carry seconds from now, as the IETF's draft
(draft-ietf-httpapi-ratelimit-headers) wants, where Flask-Limiter gives a moment of the epoch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from portal.languages import sentence
from portal.refusals import Refusal


class TooManyCalls(Refusal):
    """The caller's allowance for this minute (or as it is set) is used up."""

    status = 429
    title = sentence("Too many calls")

    def __init__(self, allowance: Allowance) -> None:
        super().__init__(
            sentence(
                "More than {limit} calls came within a short time. Wait {seconds} seconds, then go on.",
                limit=allowance.limit,
                seconds=allowance.reset,
            )
        )
        self.retry_after = allowance.reset


@dataclass(frozen=True)
class Allowance:
    """What a caller has left: calls, and seconds until the count begins anew."""

    limit: int
    remaining: int
    reset: int

    @property
    def headers(self) -> dict[str, str]:
        """The allowance as response headers."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }


class Limiter:
    """Counts calls in this process's memory; thread-safe."""

    def __init__(self, rate: str) -> None:
        self._rate: RateLimitItem = parse(rate)
        self._counter = FixedWindowRateLimiter(MemoryStorage())

    def require(self, caller: str) -> None:
        """Count one call of `caller`. Raises `TooManyCalls`."""
        allowance, may = self.hit(caller)
        if not may:
            raise TooManyCalls(allowance)

    def hit(self, caller: str) -> tuple[Allowance, bool]:
        """Count one call of `caller`: what is left, and whether this one may still go on."""
        may = self._counter.hit(self._rate, caller)
        reset_at, remaining = self._counter.get_window_stats(self._rate, caller)
        reset = max(1, round(reset_at - time.time()))
        return Allowance(self._rate.amount, max(0, remaining), reset), may
