"""How much longer one question takes than another: asked in turn, as often as it takes to tell."""

from __future__ import annotations

import math
import socket
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.client import exchange

STEEPEST = 1.2  # what most pages with a million rows behind them are allowed
WARM, TURNS = 4, 100
LOOKS = (15, 30, 60)  # turns after which it may be clear


@dataclass(frozen=True)
class Question:
    """A request, and the port on this machine where it is asked."""

    port: int
    request: bytes


@dataclass(frozen=True)
class Ratio:
    """How many times as long as the first the second takes, and that in words."""

    times: float
    measured: str


def ratio(few: Question, many: Question) -> Ratio:
    """How much longer the second takes than the first, by the medians. Each has a connection of its own."""
    took: list[list[float]] = [[], []]
    with ExitStack() as connections:
        pair = [
            (times, connections.enter_context(socket.create_connection(("127.0.0.1", one.port))), one.request)
            for times, one in zip(took, (few, many), strict=True)
        ]
        for turn in range(WARM + TURNS):
            for times, connection, request in pair if turn % 2 else reversed(pair):
                times.append(_seconds(connection, request))
            if turn < WARM:
                took[0].clear()
                took[1].clear()
            elif len(took[0]) in LOOKS and _is_told(took[0], took[1]):
                break
    small, large = (statistics.median(times) for times in took)
    return Ratio(large / small, f"{large / small:.2f} times ({1000 * large:.1f} ms; {len(took[0])} turns)")


def median(question: Question) -> float:
    """How long the answer takes, in seconds."""
    with socket.create_connection(("127.0.0.1", question.port)) as connection:
        return statistics.median([_seconds(connection, question.request) for _ in range(WARM + TURNS)][WARM:])


def _seconds(connection: socket.socket, request: bytes) -> float:
    start = time.perf_counter()
    assert exchange(connection, request) == 200, request
    return time.perf_counter() - start


def _is_told(few: list[float], many: list[float]) -> bool:
    """Whether the turns agree on which side of the bound the median is: with 99 % certainty (the sign test's)."""
    ratios = sorted(large / small for small, large in zip(few, many, strict=True))
    unsure = math.ceil(1.3 * math.sqrt(len(ratios)))  # places around the middle one
    middle = len(ratios) // 2
    return ratios[middle + unsure] <= STEEPEST or ratios[middle - unsure] > STEEPEST
