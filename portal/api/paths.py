"""Addresses as clients write them: with a version in front, a slash too many, or in another letter case."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from flask import Flask

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_VERSION = re.compile(r"20\d\d-(0[1-9]|1[0-2])")


class _Rule(NamedTuple):
    methods: frozenset[str]
    segments: tuple[str | None, ...]  # None: whatever stands there

    @property
    def fixed(self) -> int:
        return sum(segment is not None for segment in self.segments)

    def rewrite(self, given: list[str]) -> list[str] | None:
        """The segments with ours written as we do; None when this isn't the rule's address."""
        for ours, theirs in zip(self.segments, given, strict=True):
            if ours is not None and ours.lower() != theirs.lower():
                return None
        return [ours or theirs for ours, theirs in zip(self.segments, given, strict=True)]


class Paths:
    """WSGI middleware: gives the application the address as it knows it."""

    def __init__(self, app: Flask) -> None:
        self._app = app.wsgi_app
        self._rules: dict[int, list[_Rule]] = {}
        for rule in app.url_map.iter_rules():
            segments = tuple(None if part.startswith("<") else part for part in rule.rule.strip("/").split("/"))
            methods = frozenset(rule.methods or ())
            self._rules.setdefault(len(segments), []).append(_Rule(methods, segments))
        for rules in self._rules.values():
            rules.sort(key=lambda rule: -rule.fixed)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["PATH_INFO"] = self.canonical(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        return self._app(environ, start_response)

    def canonical(self, method: str, path: str) -> str:
        """The address without version and superfluous slashes, its fixed parts in our letter case."""
        parts = [part for part in path.split("/") if part]
        if parts and _VERSION.fullmatch(parts[0]):
            parts = parts[1:]
        for rule in self._rules.get(len(parts), ()):
            if method in rule.methods and (rewritten := rule.rewrite(parts)) is not None:
                parts = rewritten
                break
        return "/" + "/".join(parts)
