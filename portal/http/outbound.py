"""The one function that every outbound request leaves through: bounded in time, size, number and destination."""

from __future__ import annotations

import logging
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Waited
from urllib.parse import urlsplit

import requests
import urllib3
from requests.structures import CaseInsensitiveDict
from requests_hardened.ip_filter import InvalidIPAddress

from portal.http.bulkhead import Bulkhead
from portal.http.messages import Answer, NoAnswer, Problem, Request
from portal.http.pinned import Line, PlainHttp, session_on
from portal.http.private import PrivateNetwork

_CHUNK = 65_536

# A refused address is told to the person who typed it; that is no warning to the operator.
logging.getLogger("requests_hardened").setLevel(logging.ERROR)


class _TooLarge(Exception):
    pass


class Outbound:
    """Sends requests. One per process; thread-safe.

    End users' hosts and the operator's own URLs have bulkheads of their own, so that neither can starve the other.
    """

    def __init__(
        self,
        *,
        private: PrivateNetwork,
        per_host: int = 8,
        in_all: int = 240,
        ceiling: float = 15.0,
        largest: int = 1_000_000,
        ca_bundle: str | None = None,
        user_agent: str = "install-portal",
    ) -> None:
        self._private, self._ceiling, self._largest = private, ceiling, largest
        self._verify: bool | str = ca_bundle or True
        self._user_agent = user_agent
        self._guests = Bulkhead(per_host=per_host, in_all=in_all)
        self._trusted = Bulkhead(per_host=max(per_host, 16), in_all=max(in_all // 4, 16))
        self._threads = ThreadPoolExecutor(max_workers=in_all + self._trusted.in_all, thread_name_prefix="outbound")

    @property
    def calls_under_way(self) -> int:
        """How many calls to apps' hosts are waiting for their answer."""
        return self._guests.taken

    def send(
        self,
        request: Request,
        *,
        trusted: bool = False,
        ceiling: float | None = None,
        largest: int | None = None,
    ) -> Answer:
        """Send `request` and read its answer; redirects come back as they are.

        `trusted` is for URLs that the operator configured: they may be private or plain http, and an answer over
        `largest` bytes is cut instead of refused. `ceiling` (seconds) holds for the whole call, name look-up to
        last byte. Raises `NoAnswer`; its `problem` says why.
        """
        parts = urlsplit(request.url)
        host = parts.hostname or ""
        place = f"{host.lower().rstrip('.')}:{parts.port or parts.scheme}"
        bulkhead = self._trusted if trusted else self._guests
        if not bulkhead.enter(place):
            raise NoAnswer(Problem.busy, host)
        line = Line()
        seconds = self._ceiling if ceiling is None else ceiling
        call: Future[Answer] = self._threads.submit(
            self._call, request, line, trusted, seconds, largest or self._largest
        )
        call.add_done_callback(lambda _: bulkhead.leave(place))
        try:
            return call.result(timeout=seconds)
        except Waited:
            line.cut()
            raise NoAnswer(Problem.timeout, host) from None
        except Exception as error:
            problem = Problem.timeout if line.is_cut else _problem(error)
            if problem is None:
                raise
            raise NoAnswer(problem, host) from None

    def _call(self, request: Request, line: Line, trusted: bool, seconds: float, largest: int) -> Answer:
        start = time.monotonic()
        headers = {"User-Agent": self._user_agent, "Accept-Encoding": "identity", **request.headers}
        try:
            with session_on(line, None if trusted else self._private) as session:
                reply = session.request(
                    request.method,
                    request.url,
                    headers=headers,
                    data=request.body,
                    stream=True,
                    allow_redirects=False,
                    timeout=seconds,
                    verify=self._verify,
                )
                body = _read(reply.raw, largest)
            if len(body) > largest and not trusted:
                raise _TooLarge
            return Answer(
                status=reply.status_code,
                headers=CaseInsensitiveDict(reply.headers),
                body=body[:largest],
                is_cut=len(body) > largest,
                elapsed=time.monotonic() - start,
            )
        finally:
            line.close()

    def close(self) -> None:
        """Take no more calls."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _read(raw: urllib3.BaseHTTPResponse, largest: int) -> bytes:
    # As it comes over the wire: an answer that was packed all the same is never unpacked, so it can't swell.
    body = bytearray()
    while len(body) <= largest:
        chunk = raw.read(min(_CHUNK, largest + 1 - len(body)), decode_content=False)
        if not chunk:
            break
        body += chunk
    return bytes(body)


def _problem(error: BaseException) -> Problem | None:
    """Which `Problem` an exception of the transport is; None when it is a defect of ours."""
    causes: list[BaseException] = []
    pending: list[object] = [error]
    while pending:
        cause = pending.pop()
        if isinstance(cause, BaseException) and not any(cause is seen for seen in causes):
            causes.append(cause)
            pending += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
    table: list[tuple[type[BaseException] | tuple[type[BaseException], ...], Problem]] = [
        (_TooLarge, Problem.too_large),
        (InvalidIPAddress, Problem.private_address),
        (PlainHttp, Problem.plain_http),
        (
            (
                socket.gaierror,
                UnicodeError,
                requests.exceptions.InvalidURL,
                urllib3.exceptions.LocationParseError,
            ),
            Problem.no_such_host,
        ),
        ((requests.exceptions.SSLError, urllib3.exceptions.SSLError), Problem.tls),
        ((urllib3.exceptions.NewConnectionError, ConnectionRefusedError), Problem.refused),
        ((requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError), Problem.timeout),
        ((requests.RequestException, urllib3.exceptions.HTTPError, OSError), Problem.broken),
    ]
    for kinds, problem in table:
        if any(isinstance(cause, kinds) for cause in causes):
            return problem
    return None
