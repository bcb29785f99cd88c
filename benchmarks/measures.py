"""The measures: each gives rows for the table. Rates of two servers are taken in turn, and compared round by round."""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import psutil

from benchmarks.client import exchange, get, load, post
from benchmarks.stage import HERE, Endpoint, free_port, portal_environment, process, python
from portal.server import THREADS

ROUNDS, SECONDS = 5, 2.0
FINISHES = 300


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    measured: str
    wanted: str
    is_met: bool


@dataclass(frozen=True)
class Stage:
    """A running portal with its shop and endpoint."""

    port: int
    shop_url: str
    token: str
    endpoint: Endpoint
    instance: Path
    env: dict[str, str]

    def links(self, count: int) -> list[dict[str, str]]:
        """New links for one user each, as the query's parts."""
        from portal import create_app
        from portal.clock import now
        from portal.db import transaction
        from portal.demo.seed import INTEGRATION
        from portal.environments import Environment
        from portal.ids import new_id
        from portal.integrations.declaration import read_declaration
        from portal.integrations.rules import apply_declaration
        from portal.links.rules import create_link
        from portal.settings import read_settings
        from portal.users.rules import create_user

        app = create_app(read_settings(instance=self.instance, base_url=f"http://127.0.0.1:{self.port}"))
        made = []
        with app.app_context(), transaction(Environment.production) as session:
            declaration = read_declaration(INTEGRATION, app.extensions["catalogue"])
            integration, _ = apply_declaration(session, declaration, now())
            for _ in range(count):
                user = create_user(session, f"{new_id()}@bench.example", now=now())
                link, token = create_link(
                    session,
                    app.extensions["keys"].link_keys,
                    user=user,
                    integration=integration,
                    now=now(),
                    life=timedelta(days=1),
                )
                made.append({"integrationId": link.integration_id, "token": token})
        return made

    def finish(self, link: dict[str, str], press: str, *, store: str = "") -> bytes:
        """The request of a press on Finish Installation, for the sandbox shop or another `store`."""
        facts = {**link, "press": press, "action": "finish"}
        facts |= {"magento-store_url": store or self.shop_url, "magento-access_token": self.token}
        return post("/embedded-install", f"127.0.0.1:{self.port}", urlencode(facts))


@contextmanager
def stage(folder: Path, *, is_worker_apart: bool = False, **more: str) -> Iterator[Stage]:
    """Everything up and running, in an empty data folder; the engine in the server or in a worker of its own."""
    instance = Path(folder) / f"instance-{time.monotonic_ns()}"
    port, shop_port, endpoint = free_port(), free_port(), Endpoint()
    env = portal_environment(instance, port, endpoint.url, PORTAL_DEMO="1", **more)
    env["PORTAL_ENGINE"] = "false" if is_worker_apart else "true"
    shop = python("portal.sandbox", "--instance", str(instance), "--port", str(shop_port))
    with ExitStack() as children:
        children.enter_context(process(shop, env, f"http://127.0.0.1:{shop_port}/"))
        children.enter_context(process(python("portal.server"), env, f"http://127.0.0.1:{port}/readyz"))
        if is_worker_apart:
            worker = [str(Path(sys.executable).with_name("flask")), "worker"]
            children.enter_context(process(worker, env, f"http://127.0.0.1:{port}/readyz"))
        token = (instance / "sandbox-token").read_text()
        yield Stage(port, f"http://127.0.0.1:{shop_port}", token, endpoint, instance, env)


def first_view(folder: Path) -> Iterator[Row]:
    """The install page against a bare Flask hello under the same server; and what the first view weighs."""
    with stage(folder, is_worker_apart=True) as portal:
        yield against_hello(portal, "GET install page / bare Flask hello, server alone", 0.35)
        yield from weight(portal, portal.links(1)[0])
    with stage(folder) as portal:
        yield against_hello(portal, "… with the engine in the same process, as under make run", None)


def against_hello(portal: Stage, what: str, wanted: float | None) -> Row:
    """The rate of the install page as a share of the rate of a hello, taken in turn."""
    hello_port = free_port()
    hello = python("benchmarks.hello", str(hello_port), str(THREADS))
    with process(hello, portal.env, f"http://127.0.0.1:{hello_port}/"):
        host = f"127.0.0.1:{portal.port}"
        pages = [get(f"/embedded-install?{urlencode(link)}", host) for link in portal.links(16)]
        rounds = []
        for _ in range(ROUNDS):
            base = load(hello_port, [get("/", host)], connections=8, seconds=SECONDS).rate
            rounds.append((load(portal.port, pages, connections=8, seconds=SECONDS).rate, base))
    ratio = statistics.median(page / base for page, base in rounds)
    page_rate, base_rate = (statistics.median(rates) for rates in zip(*rounds, strict=True))
    measured = f"{ratio:.2f} ({page_rate:.0f}/s of {base_rate:.0f}/s)"
    return Row(what, measured, f"≥ {wanted}" if wanted else "(told)", wanted is None or ratio >= wanted)


def weight(portal: Stage, link: dict[str, str]) -> Iterator[Row]:
    """Requests and bytes (with heads) of the first view."""
    base = f"http://127.0.0.1:{portal.port}"

    def fetch(path: str) -> tuple[int, str]:
        request = urllib.request.Request(base + path, headers={"Accept-Encoding": "br"})
        with urllib.request.urlopen(request) as answer:
            body = answer.read()
            return len(body) + len(str(answer.headers)), answer.headers.get("Content-Encoding", "")

    with urllib.request.urlopen(f"{base}/embedded-install?{urlencode(link)}") as answer:
        html = answer.read().decode()
    files = [
        part.split('"')[0]
        for part in html.replace('src="', 'href="').split('href="')[1:]
        if part.startswith("/static/")
    ]
    sizes = [fetch(f"/embedded-install?{urlencode(link)}"), *map(fetch, files)]
    total = sum(size for size, _ in sizes)
    packed = all(encoding == "br" for _, encoding in sizes)
    yield Row(
        "First view",
        f"{len(sizes)} requests, {total / 1000:.1f} kB{'' if packed else ', NOT brotli'}",
        "≤ 3, ≤ 24 kB",
        len(sizes) <= 3 and total <= 24_000 and packed,
    )


def finishing(folder: Path) -> Iterator[Row]:
    """Finish Installation with a local provider, and the way from its answer to the first attempt."""
    with stage(folder, is_worker_apart=True) as portal:
        yield from finish_rate(portal, "Finish Installation, server and worker", 60)
    with stage(folder) as portal:
        yield from finish_rate(portal, "Finish Installation, all in one process as under make run", None)
    for is_apart in (True, False):
        with stage(folder, is_worker_apart=is_apart) as portal:
            median = statistics.median(waits_for_webhook(portal, 40))
            place = "worker apart" if is_apart else "one process"
            yield Row(
                f"Finish answered → first attempt, median, {place}", f"{median:.0f} ms", "≤ 150 ms", median <= 150
            )


def finish_rate(portal: Stage, what: str, wanted: int | None) -> Iterator[Row]:
    """Finishes a second, and whether every webhook arrived."""
    requests = [portal.finish(link, f"press{i}") for i, link in enumerate(portal.links(FINISHES))]
    done = load(portal.port, requests, connections=8, may_be_refused=True)
    is_met = not done.refused and (wanted is None or done.rate >= wanted)
    yield Row(what, f"{done.rate:.0f}/s ({done.refused} refused)", f"≥ {wanted}/s" if wanted else "(told)", is_met)
    deadline = time.monotonic() + 60
    while len(portal.endpoint.arrived) < FINISHES and time.monotonic() < deadline:
        time.sleep(0.05)
    arrived = len(portal.endpoint.arrived)
    yield Row("… webhooks that arrived within a minute", f"{arrived} of {FINISHES}", "all", arrived == FINISHES)


def waits_for_webhook(portal: Stage, count: int) -> list[float]:
    """Milliseconds from the answer of a finish to its webhook, one after the other."""
    waits = []
    for number, link in enumerate(portal.links(count)):
        before = set(portal.endpoint.arrived)
        load_one(portal.port, portal.finish(link, f"press{number}"))
        answered = time.time()
        while not (fresh := set(portal.endpoint.arrived) - before) and time.time() - answered < 10:
            time.sleep(0.001)
        waits.append(1000 * (portal.endpoint.arrived[fresh.pop()] - answered) if fresh else 10_000)
    return waits


def load_one(port: int, request: bytes) -> None:
    """One request on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        exchange(connection, request)


def crowd(folder: Path) -> Iterator[Row]:
    """What everybody else notices of 200 people whose provider hangs."""
    with stage(folder, is_worker_apart=True) as portal, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(512)  # takes connections and never says a word
        stuck_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        links = portal.links(320)
        usual = [one_visit(portal, link, f"a{n}") for n, link in enumerate(links[:60])]
        stuck = [
            threading.Thread(target=load_one, args=(portal.port, portal.finish(link, f"s{n}", store=f"{stuck_url}")))
            for n, link in enumerate(links[120:])
        ]
        for thread in stuck:
            thread.start()
        time.sleep(1)  # the crowd is in
        meanwhile = [one_visit(portal, link, f"b{n}") for n, link in enumerate(links[60:120])]
        still_waiting = sum(thread.is_alive() for thread in stuck)
        for thread in stuck:
            thread.join()
    ratio = statistics.median(meanwhile) / statistics.median(usual)
    what = f"Page and finish of others while 200 hang ({still_waiting} still waited), against usual"
    yield Row(what, f"{ratio:.2f} times", "≤ 2 times", ratio <= 2 and still_waiting > 0)


def one_visit(portal: Stage, link: dict[str, str], press: str) -> float:
    """Seconds that one page and one finish take."""
    start = time.perf_counter()
    load_one(portal.port, get(f"/embedded-install?{urlencode(link)}", "127.0.0.1"))
    load_one(portal.port, portal.finish(link, press))
    return time.perf_counter() - start


def demo(folder: Path) -> Iterator[Row]:
    """`make run` on a set-up checkout: when the link is printed, and what all its processes hold in memory."""
    port = free_port()
    env = {**os.environ, "PORT": str(port), "PORTAL_INSTANCE": str(folder / "demo")}
    for _ in range(2):  # the second start is the one that counts
        start = time.monotonic()
        child = subprocess.Popen(
            ["make", "--silent", "run", f"PORT={port}"],
            cwd=HERE,
            env=env,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("Install link: "):
                break
        took = time.monotonic() - start
        link = line.removeprefix("Install link: ").strip()
        with urllib.request.urlopen(link) as answer:
            assert answer.status == 200 and parse_qs(urlsplit(link).query)["token"]
        everybody = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
        memory = sum(p.memory_info().rss for p in everybody) / 1e6
        start = time.monotonic()
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(10)
        ended = time.monotonic() - start
    yield Row("make run, link printed", f"{took:.1f} s", "≤ 3 s", took <= 3)
    yield Row("make run, resident memory of all processes", f"{memory:.0f} MB", "< 250 MB", memory < 250)
    yield Row("make run, end after SIGTERM", f"{ended:.1f} s", "≤ 5 s", ended <= 5)


ALL: list[Callable[[Path], Iterator[Row]]] = [first_view, finishing, crowd, demo]
