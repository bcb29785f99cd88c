"""What is sent, what comes back, and why nothing came back."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

# Visible ASCII and inner spaces: what every server reads the same way (RFC 9110, section 5.5).
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")


class Problem(enum.StrEnum):
    """Why no answer could be had."""

    no_such_host = "no_such_host"
    refused = "refused"
    tls = "tls"
    timeout = "timeout"
    private_address = "private_address"
    plain_http = "plain_http"
    too_large = "too_large"
    busy = "busy"
    broken = "broken"


class NoAnswer(Exception):
    """The request got no (whole) answer. `host` is the one that was asked."""

    def __init__(self, problem: Problem, host: str) -> None:
        super().__init__(f"{host}: {problem}")
        self.problem, self.host = problem, host


class NotJSON(ValueError):
    """The body of an answer is not JSON."""


@dataclass(frozen=True)
class Request:
    """A request whose URL is complete.

    Raises ValueError when the URL can't be read, or a header could be read as more than one.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def __post_init__(self) -> None:
        try:
            _ = urlsplit(self.url).port
        except ValueError:
            raise ValueError("its address can't be read") from None
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"the header {name!r} has characters that a header can't have")


@dataclass(frozen=True)
class Answer:
    """What came back; `body` is cut at the size asked for (then `is_cut`), `elapsed` is in seconds."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_cut: bool
    elapsed: float

    def json(self) -> Any:
        """The body as JSON. Raises `NotJSON`."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise NotJSON from None
