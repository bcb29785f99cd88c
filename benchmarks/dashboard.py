"""The dashboard's measures: every list with a million rows behind it against a thousand, search, weight, requests."""

from __future__ import annotations

import re
import socket
import statistics
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import brotli

from benchmarks.client import exchange, get
from benchmarks.filling import fill
from benchmarks.measures import HERE, Row
from benchmarks.stage import free_port, portal_environment, process, python

FEW, MANY = 1_000, 1_000_000
WARM, TURNS = 10, 100
OPERATOR = "bench@bench.example"
HEAVIEST, MOST_REQUESTS = 60_000, 4

# A list, and what of it is asked for. What nothing meets is asked for as well: then the most has to be left out.
# {integration} and {workflow} are the ids of those that everything is of, {first} a user with very many links and runs.
QUESTIONS = {
    "links": (
        "order=soonest",
        "order=latest",
        "state=finished",
        "state=opened",
        "state=revoked",
        "state=asked",
        "integration={integration}",
        "integration={integration}&state=created",
        "integration=none",
        "user=user00",
        "user=user00&state=opened&order=oldest",
        "user={first}",
        "user={first}&state=revoked",
        "user={first}&integration=none",
        "user=nobody",
    ),
    "users": ("order=a-z", "order=z-a", "user=user0", "user=nobody"),
    "installations": (
        "order=oldest",
        "state=stopped",
        "integration={integration}",
        "integration={integration}&state=stopped",
        "integration=none&state=running",
        "user=user00",
        "user={first}&integration=none",
    ),
    "runs": (
        "order=oldest",
        "state=failed",
        "state=cancelled",
        "workflow={workflow}&state=failed",
        "workflow={workflow}&state=cancelled",
        "workflow=none",
        "since=2999-01-01T00:00",
        "user=user00",
        "user=user00&state=failed&order=oldest",
        "user={first}",
        "user={first}&state=cancelled",
        "user={first}&workflow=none",
        "user={first}&workflow={workflow}&state=cancelled",
    ),
    "events": (
        "order=oldest",
        "kind=link.opened",
        "kind=link.failed",
        "state=delivered",
        "state=given_up&order=oldest",
        "state=pending",
        "state=delivered&kind=link.opened",
        "state=delivered&kind=link.failed",
        "endpoint=documented-production",
        "endpoint=documented-production&kind=link.failed",
        "endpoint=documented-production&state=pending",
        "endpoint=documented-production&state=delivered&kind=link.failed",
        "endpoint=none&state=delivered",
    ),
    "audit": (
        "order=oldest",
        "actor=operator3@bench.example",
        "actor=nobody",
        "action=link.create",
        "action=link.create&actor=operator3@bench.example",
        "action=link.create&actor=nobody",
        "action=nothing&actor=operator3@bench.example",
        "since=2999-01-01&actor=operator3@bench.example",
    ),
    "integrations": ("order=z-a",),
    "api-keys": ("order=a-z", "state=in_use", "state=revoked&order=oldest"),
    "tasks": ("order=oldest",),
    "endpoints": ("order=a-z",),
    "sessions": ("order=first",),
}
FIRST = "user0000000@bench.example"
SHORT = ("integrations", "endpoints", "sessions")  # which have no deep page
OTHERS = ("", "integrations/{integration}", "integrations/{integration}/share", "integrations/{integration}/preview")
OTHERS += ("integrations/apply", "settings")
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

    def fetch(self, path: str) -> tuple[bytes, str]:
        """An answer as it travels, packed with brotli, and as a text."""
        headers = {"Cookie": self.cookie, "Accept-Encoding": "br"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        with urllib.request.urlopen(request) as answer:
            packed: bytes = answer.read()
            return packed, _unpacked(packed, answer.headers.get("Content-Encoding"))

    def page(self, path: str) -> tuple[bytes, str]:
        """A page of the dashboard in the same way."""
        path = path.format(**self.names)
        return self.fetch(f"/dashboard/{path}".rstrip("/"))


def _unpacked(data: bytes, encoding: str | None) -> str:
    return (brotli.decompress(data) if encoding == "br" else data).decode("utf-8", "replace")


@contextmanager
def desk(folder: Path, count: int) -> Iterator[Desk]:
    """A portal with `count` rows of each kind, and somebody signed in."""
    instance, port = folder / f"instance-{count}", free_port()
    env = portal_environment(instance, port, "", PORTAL_DEMO="1", PORTAL_ENGINE="false")
    with process(python("portal.server"), env, f"http://127.0.0.1:{port}/healthz"):
        pass  # makes the tables
    fill(instance, count, OPERATOR)
    with process(python("portal.server"), env, f"http://127.0.0.1:{port}/healthz"):
        one = Desk(port, instance, _sign_in(port, env), {})
        integration = re.search(r"/dashboard/integrations/([0-9a-f]{24})", one.page("integrations")[1])
        workflow = re.search(r'<option value="([0-9a-f]{24})">', one.page("runs")[1])
        assert integration
        assert workflow
        yield replace(one, names={"integration": integration[1], "workflow": workflow[1], "first": FIRST})


def _of_development(one: Desk) -> Desk:
    """The same for somebody who looks at the environment in which there is nothing."""
    env = portal_environment(one.instance, one.port, "", PORTAL_DEMO="1", PORTAL_ENGINE="false")
    other = replace(one, cookie=_sign_in(one.port, env))
    token = re.search(r'name="csrf" value="([^"]+)"', other.page("")[1])
    assert token
    _post(other.port, "/dashboard/environment", {"csrf": token[1], "environment": "development"}, other.cookie)
    return other


def _sign_in(port: int, env: dict[str, str]) -> str:
    flask = str(Path(sys.executable).with_name("flask"))
    made = subprocess.run(
        [flask, "operator", "invite", OPERATOR, "--role", "admin"],
        env=env,
        cwd=HERE,
        capture_output=True,
        text=True,
        check=True,
    )
    token = urllib.parse.parse_qs(urllib.parse.urlsplit(made.stdout.strip()).query)["token"][0]
    answer = _post(port, "/dashboard/sign-in", {"token": token})
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
        few, many = (portals.enter_context(desk(folder, count)) for count in (FEW, MANY))
        yield from _lists(few, many)
        yield from _lists(_of_development(few), _of_development(many), "development, where there is nothing: ")
        yield from _search(many)
        yield from _weights(many)


def _lists(few: Desk, many: Desk, where: str = "") -> Iterator[Row]:
    for name, filters in QUESTIONS.items():
        deep = [_deep(one, name) for one in (few, many)]
        questions = [(name, name), *((f"{name}?{query}", f"{name}?{query}") for query in filters)]
        if name not in SHORT and not where:
            questions.append((deep[0], deep[1]))
        for small, large in questions:
            ratio, took = _compare((few.port, few.request(small)), (many.port, many.request(large)))
            what = f"{name}, a deep page" if "cursor=" in large else re.sub(r"\{\w+\}", "…", large)
            measured = f"{ratio:.2f} times ({took:.1f} ms)"
            yield Row(f"{where}{what}: 1 million rows against 1 thousand", measured, "≤ 1.2 times", ratio <= 1.2)


def _deep(one: Desk, name: str) -> str:
    """The tenth page; each has fifty rows."""
    path = name
    for _ in range(9):
        found = re.search(r'href="/dashboard/([^"]+cursor=[^"]+)"', one.page(path)[1])
        if not found:
            break
        path = found[1].replace("&amp;", "&")
    return path


def _compare(few: tuple[int, bytes], many: tuple[int, bytes]) -> tuple[float, float]:
    """How much longer the second takes than the first, and its milliseconds; each is asked in turn with the other."""
    took: list[list[float]] = [[], []]
    with ExitStack() as connections:
        pair = [
            (connections.enter_context(socket.create_connection(("127.0.0.1", port))), request)
            for port, request in (few, many)
        ]
        for turn in range(WARM + TURNS):
            for times, (connection, request) in zip(took, pair, strict=True):
                start = time.perf_counter()
                assert exchange(connection, request) == 200, request
                if turn >= WARM:
                    times.append(time.perf_counter() - start)
    small, large = (statistics.median(times) for times in took)
    return large / small, 1000 * large


def _search(many: Desk) -> Iterator[Row]:
    took = []
    for text in SEARCHES:
        request = many.port, many.request(f"users/search?user={text}")
        took.append(_compare(request, request)[1])
    middle, worst = statistics.median(took), max(took)
    yield Row(
        "Search as you type amid 1 million users, median (worst text)",
        f"{middle:.1f} ms ({worst:.1f} ms)",
        "< 50 ms",
        worst < 50,
    )


def _weights(many: Desk) -> Iterator[Row]:
    heaviest, most = (0, ""), (0, "")
    for path in (*QUESTIONS, *OTHERS, *_single(many)):
        packed, html = many.page(path)
        files = set(re.findall(r'(?:src|href)="(/(?:static|branding)/[^"]+)"', html))
        size = len(packed) + sum(len(many.fetch(file)[0]) for file in files)
        heaviest = max(heaviest, (size, path.replace("{integration}", "…") or "overview"))
        most = max(most, (1 + len(files), path.replace("{integration}", "…") or "overview"))
    weight, requests = f"{heaviest[0] / 1000:.1f} kB ({heaviest[1]})", f"{most[0]} ({most[1]})"
    yield Row("Dashboard, the heaviest page with its files, packed", weight, "≤ 60 kB", heaviest[0] <= HEAVIEST)
    yield Row("Dashboard, the most requests of a page", requests, f"≤ {MOST_REQUESTS}", most[0] <= MOST_REQUESTS)


def _single(many: Desk) -> Iterator[str]:
    """One row's own page of each list that has them."""
    for name in ("links", "users", "installations", "events"):
        found = re.search(rf'href="/dashboard/({name}/[0-9a-f]{{24}})"', many.page(name)[1])
        assert found, name
        yield found[1]
