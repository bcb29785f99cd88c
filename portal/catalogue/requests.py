"""How a request to an app is built from its declaration and a user's values: the test and every later call."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from portal.catalogue.declarations import PLACE, App
from portal.http import Request
from portal.languages import Sentence, sentence

_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*(:\d{1,5})?")


class HostNotAllowed(ValueError):
    """The values would lead to a host that the app's rule doesn't allow; `reason` says why, in half a sentence."""

    def __init__(self, reason: Sentence) -> None:
        super().__init__(reason)
        self.reason = reason


def build_request(
    app: App,
    values: Mapping[str, str],
    *,
    method: str | None = None,
    path: str | None = None,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
) -> Request:
    """A request of `app` with `values` in the places that the declaration names; by default the app's test.

    Every value is escaped for the place it stands in. Raises `HostNotAllowed` when the result would leave the
    app's hosts, and ValueError when a value can't stand in a header.
    """
    test = app.test
    if path is None:
        assert test is not None, "an app without a test has no default request"
        method, path, query, headers, body = test.method, test.path, test.query, test.headers, test.body
    url = _base(app, values) + _fill(path, values, _in_path)
    pairs = {**(query or {}), **app.auth.query}
    if pairs:
        url += "?" + urlencode({name: _fill(template, values, str) for name, template in pairs.items()})
    sent = {"Accept": "application/json"}
    sent |= {name: _fill(template, values, str) for name, template in {**(headers or {}), **app.auth.headers}.items()}
    if app.auth.bearer is not None:
        sent["Authorization"] = f"Bearer {_fill(app.auth.bearer, values, str)}"
    if app.auth.basic is not None:
        pair = f"{_fill(app.auth.basic.user, values, str)}:{_fill(app.auth.basic.password, values, str)}"
        sent["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    data = None
    if body is not None:
        data = json.dumps(body, ensure_ascii=False).encode()
        sent["Content-Type"] = "application/json"
    _require_allowed(app, values, url)
    return Request(method or "GET", url, sent, data)


def _fill(template: str, values: Mapping[str, str], escape: Any) -> str:
    return PLACE.sub(lambda match: escape(values.get(match[1], "")), template)


def _in_path(value: str) -> str:
    # A lone dot segment would climb; quoted dots are read as dots by servers, so they are refused.
    if value.strip(".") == "":
        raise HostNotAllowed(sentence("a value can't be a dot segment of a path"))
    return quote(value, safe="")


def _in_host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise HostNotAllowed(sentence("a value can't be a part of a host name"))
    return value


def _base(app: App, values: Mapping[str, str]) -> str:
    first = PLACE.match(app.base_url)
    if first:  # a field of type url, cleaned: scheme, host, path and nothing else
        return values[first[1]].rstrip("/") + _fill(app.base_url[first.end() :], values, _in_path)
    scheme, _, rest = app.base_url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{_fill(host, values, _in_host)}{slash}{_fill(path, values, _in_path)}".rstrip("/")


def _require_allowed(app: App, values: Mapping[str, str], url: str) -> None:
    """The last word on where a request goes, asked of the finished URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise HostNotAllowed(sentence("the address can't be read")) from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or re.search(r"[\s\\]", url):
        raise HostNotAllowed(sentence("the address can't be used"))
    first = PLACE.match(app.base_url)
    if first and (parts.scheme, parts.netloc) != urlsplit(values[first[1]])[:2]:
        raise HostNotAllowed(sentence("the address has another host than the one that was typed"))
    if app.hosts == "any":
        return
    if parts.scheme != "https" or port not in (None, 443):
        raise HostNotAllowed(sentence("{title} is only at https:// and its usual port", title=app.title))
    if not any(host == rule or (rule.startswith(".") and host.endswith(rule)) for rule in app.hosts):
        raise HostNotAllowed(sentence("{host} is not a host of {title}", host=host, title=app.title))
