"""A load generator lean enough to share two cores with what it measures: raw sockets, kept-alive connections."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """What came of a load: answers a second, latencies in seconds (sorted), how many answers were not 200."""

    rate: float
    latencies: tuple[float, ...]
    refused: int


def get(path: str, host: str, *, headers: str = "") -> bytes:
    """A GET request as bytes."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode()


def post(path: str, host: str, body: str, *, headers: str = "") -> bytes:
    """A form's POST request as bytes."""
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    return f"{head}Content-Length: {len(body)}\r\n{headers}\r\n{body}".encode()


def exchange(connection: socket.socket, request: bytes) -> int:
    """Send a request, read its whole answer (which must say its length), return the status."""
    connection.sendall(request)
    data = connection.recv(65536)
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise ConnectionError("the server closed the connection")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    lower = head.lower()
    at = lower.find(b"content-length:")
    wanted = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    got = len(rest)
    while got < wanted:
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionError("the answer broke off")
        got += len(chunk)
    return int(head[9:12])


def _run(address: tuple[str, int], requests: Sequence[bytes], connections: int, seconds: float, pipe: object) -> None:
    latencies: list[float] = []
    refused = [0]
    todo = iter(requests) if seconds == 0 else None
    lock = threading.Lock()
    end = time.perf_counter() + seconds

    def work(number: int) -> None:
        own: list[float] = []
        with socket.create_connection(address, timeout=60) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                if todo is not None:
                    with lock:
                        request = next(todo, None)
                    if request is None:
                        break
                elif time.perf_counter() >= end:
                    break
                else:
                    request = requests[number % len(requests)]
                start = time.perf_counter()
                status = exchange(connection, request)
                own.append(time.perf_counter() - start)
                if status != 200:
                    with lock:
                        refused[0] += 1
        with lock:
            latencies.extend(own)

    start = time.perf_counter()
    threads = [threading.Thread(target=work, args=(i,)) for i in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - start
    pipe.send((len(latencies) / took, tuple(sorted(latencies)), refused[0]))  # type: ignore[attr-defined]


def load(
    port: int, requests: Sequence[bytes], *, connections: int, seconds: float = 0, may_be_refused: bool = False
) -> Load:
    """Put load on 127.0.0.1:`port` from a process of its own: for `seconds`, or (0) each request once.

    Raises `AssertionError` when an answer wasn't 200, because refusals are quick, unless they `may_be_refused`.
    """
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_run, args=(("127.0.0.1", port), list(requests), connections, seconds, theirs)
    )
    process.start()
    result = Load(*ours.recv())
    process.join()
    assert may_be_refused or not result.refused, f"{result.refused} answers of {len(result.latencies)} weren't 200"
    return result
