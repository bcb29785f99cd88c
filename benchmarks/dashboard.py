"""The dashboard's measures: every list with a million rows behind it against a thousand, search, weight, requests."""

from __future__ import annotations

import http.client
import re
import socket
import statistics
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import brotli

from benchmarks.client import get
from benchmarks.filling import NAMES, fill
from benchmarks.measures import HERE, Row
from benchmarks.questions import QUESTIONS, pages, unasked
from benchmarks.stage import free_port, on_processor, portal_environment, process, python
from benchmarks.turns import STEEPEST, Question, median, ratio
from portal import create_app
from portal.settings import read_settings

FEW, MANY = 1_000, 1_000_000
CONTROL = 1.1
OPERATOR = "bench@bench.example"
HEAVIEST, MOST_REQUESTS = 60_000, 4
SEARCHES = ("u", "us", "user", "user0", "user05", "user0512", "User0512", "nobody")


@dataclass(frozen=True)
class Desk:
    """An operator at a portal that is filled."""

    port: int
    instance: Path
    cookie: str
    names: Mapping[str, str]  # what questions name, in braces

    def request(self, path: str) -> bytes:
        """The request of a page of the dashboard."""
        path = path.format(**self.names)
        return get(f"/dashboard/{path}".rstrip("/"), "127.0.0.1", headers=f"Cookie: {self.cookie}\r\n")

    def fetch(self, path: str) -> tuple[int, bytes, str]:
        """An answer: its status, as it travels, packed with brotli, and as a text. Nothing is followed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", path, headers={"Cookie": self.cookie, "Accept-Encoding": "br"})
        answer = connection.getresponse()
        packed = answer.read()
        connection.close()
        return answer.status, packed, _unpacked(packed, answer.headers.get("Content-Encoding"))

    def page(self, path: str) -> tuple[int, bytes, str]:
        """A page of the dashboard in the same way."""
        return self.fetch(f"/dashboard/{path.format(**self.names)}".rstrip("/"))

    def ask(self, path: str) -> tuple[int, str]:
        """The status and the text of a page of the dashboard."""
        status, _, text = self.page(path)
        return status, text


def _unpacked(data: bytes, encoding: str | None) -> str:
    return (brotli.decompress(data) if encoding == "br" else data).decode("utf-8", "replace")


@contextmanager
def desk(folder: Path, count: int) -> Iterator[Desk]:
    """A portal with `count` rows of each kind, and somebody signed in."""
    instance, port = folder / f"instance-{count}", free_port()
    env = portal_environment(instance, port, "", PORTAL_DEMO="1", PORTAL_ENGINE="false")
    with process(python("portal.server"), env, f"http://127.0.0.1:{port}/healthz"):
        pass  # makes the tables
    _invite(env)
    fill(instance, count, OPERATOR)
    with process(python("portal.server"), env, f"http://127.0.0.1:{port}/healthz"):
        one = Desk(port, instance, _sign_in(port, env), NAMES)
        integration = re.search(r"/dashboard/integrations/([0-9a-f]{24})", one.ask("integrations")[1])
        workflow = re.search(r'<option value="([0-9a-f]{24})">', one.ask("runs")[1])
        assert integration
        assert workflow
        yield replace(one, names={**NAMES, "integration": integration[1], "workflow": workflow[1]})


def _of_development(one: Desk) -> Desk:
    """The same for somebody who looks at the environment in which there is nothing."""
    env = portal_environment(one.instance, one.port, "", PORTAL_DEMO="1", PORTAL_ENGINE="false")
    other = replace(one, cookie=_sign_in(one.port, env))
    token = re.search(r'name="csrf" value="([^"]+)"', other.ask("")[1])
    assert token
    _post(other.port, "/dashboard/environment", {"csrf": token[1], "environment": "development"}, other.cookie)
    return other


def _invite(env: dict[str, str]) -> str:
    """The token of a sign-in link."""
    flask = str(Path(sys.executable).with_name("flask"))
    made = subprocess.run(
        [flask, "operator", "invite", OPERATOR, "--role", "admin"],
        env=env,
        cwd=HERE,
        capture_output=True,
        text=True,
        check=True,
    )
    return urllib.parse.parse_qs(urllib.parse.urlsplit(made.stdout.strip()).query)["token"][0]


def _sign_in(port: int, env: dict[str, str]) -> str:
    answer = _post(port, "/dashboard/sign-in", {"token": _invite(env)})
    found = re.search(r"(?im)^set-cookie: ([^;]+)", answer)
    assert found, answer
    return found[1]


def _post(port: int, path: str, facts: Mapping[str, str], cookie: str = "") -> str:
    body = urllib.parse.urlencode(facts)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nCookie: {cookie}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall((head + body).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode("utf-8", "replace")
    assert " 303 " in answer[:20], answer
    return answer


def dashboard(folder: Path) -> Iterator[Row]:
    """The lists, the search, and what each page weighs."""
    with ExitStack() as portals:
        with on_processor(1):
            few, many = (portals.enter_context(desk(folder, count)) for count in (FEW, MANY))
        portals.enter_context(on_processor(0))
        known = _pages(many)
        yield _coverage(known, many)
        yield _control(few)
        yield from _lists(few, many)
        yield from _others(few, many, known)
        empty = _of_development(few), _of_development(many)
        yield from _lists(*empty, "development, where there is nothing: ")
        yield from _others(*empty, [""], "development, where there is nothing: ")
        yield from _search(many)
        yield from _weights(many, known)


def _pages(one: Desk) -> list[str]:
    """The whole address map of the dashboard, with what `one` can name."""
    app = create_app(read_settings(instance=one.instance, base_url=f"http://127.0.0.1:{one.port}"))
    app.extensions["database"].engine.dispose()
    return pages(app)


def _coverage(known: list[str], many: Desk) -> Row:
    """Whether every list of the address map is asked for, with each of its filters and orders."""
    left_out = [
        *(question for page in known for question in unasked(page, many.ask)),
        *sorted(set(QUESTIONS) - {*known}),
    ]
    return Row("Lists, filters and orders that aren’t measured", ", ".join(left_out) or "none", "none", not left_out)


def _control(one: Desk) -> Row:
    """What a portal differs by from itself. When this is missed, no other ratio tells anything."""
    question = Question(one.port, one.request("links"))
    found = ratio(question, question)
    is_met = 1 / CONTROL <= found.times <= CONTROL
    return Row("Control: a list against itself", found.measured, f"within {CONTROL} times", is_met)


def _lists(few: Desk, many: Desk, where: str = "") -> Iterator[Row]:
    for name, filters in QUESTIONS.items():
        for path in (name, *(f"{name}?{query}" for query in filters)):
            yield _compared(where + re.sub(r"\{\w+\}", "…", path), (few, path), (many, path))
        deep = _deep(few, name), _deep(many, name)
        if all("cursor=" in path for path in deep):
            yield _compared(f"{where}{name}, a deep page", (few, deep[0]), (many, deep[1]))


def _others(few: Desk, many: Desk, known: list[str], where: str = "") -> Iterator[Row]:
    """The overview, and the page of one row of each kind."""
    for path in known:
        if path not in QUESTIONS and {one.ask(path)[0] for one in (few, many)} == {200}:
            yield _compared(where + (re.sub(r"\{\w+\}", "…", path) or "overview"), (few, path), (many, path))


def _deep(one: Desk, name: str) -> str:
    """The tenth page, each of which has fifty rows; the list itself where there are fewer."""
    path = name
    for _ in range(9):
        found = re.search(r'href="/dashboard/([^"]+cursor=[^"]+)">Next page', one.ask(path)[1])
        if not found:
            return name
        path = found[1].replace("&amp;", "&")
    return path


def _compared(what: str, few: tuple[Desk, str], many: tuple[Desk, str]) -> Row:
    found = ratio(*(Question(one.port, one.request(path)) for one, path in (few, many)))
    what = f"{what}: 1 million rows against 1 thousand"
    return Row(what, found.measured, f"≤ {STEEPEST} times", found.times <= STEEPEST)


def _search(many: Desk) -> Iterator[Row]:
    took = [1000 * median(Question(many.port, many.request(f"users/search?user={text}"))) for text in SEARCHES]
    middle, worst = statistics.median(took), max(took)
    yield Row(
        "Search as you type amid 1 million users, median (worst text)",
        f"{middle:.1f} ms ({worst:.1f} ms)",
        "< 50 ms",
        worst < 50,
    )


def _weights(many: Desk, known: list[str]) -> Iterator[Row]:
    """What every page that there is weighs with its files, and how many requests it takes."""
    weighed = {}
    for path in known:
        status, packed, html = many.page(path)
        if status == 200 and "<!doctype html>" in html.lower():
            files = set(re.findall(r'(?:src|href)="(/(?:static|branding)/[^"]+)"', html))
            size = len(packed) + sum(len(many.fetch(file)[1]) for file in files)
            weighed[re.sub(r"\{\w+\}", "…", path) or "overview"] = size, 1 + len(files)
    heaviest, most = (max(weighed, key=lambda path: weighed[path][n]) for n in (0, 1))
    size, requests = weighed[heaviest][0], weighed[most][1]
    yield Row(
        f"Dashboard, the heaviest of {len(weighed)} pages with its files, packed",
        f"{size / 1000:.1f} kB ({heaviest})",
        "≤ 60 kB",
        size <= HEAVIEST,
    )
    yield Row(
        "Dashboard, the most requests of a page",
        f"{requests} ({most})",
        f"≤ {MOST_REQUESTS}",
        requests <= MOST_REQUESTS,
    )
