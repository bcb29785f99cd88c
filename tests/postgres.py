"""A PostgreSQL of the tests' own, a portal on it, and doing things there at the same moment."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from portal.background import migrate
from portal.db import engine
from portal.db.migrating import upgrade
from portal.sandbox.shop import Shop
from tests.runtime import Ingest, World, end, make_bare_world, take_every_event
from tests.stage import Provider, close, free_port


def _programs() -> Path | None:
    on_path = shutil.which("initdb")
    found = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").exists()), None)


PROGRAMS = _programs()
WHY = "PostgreSQL is not installed: `make test` does it on Debian"
needs_postgres = pytest.mark.skipif(PROGRAMS is None, reason=WHY)


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL of these tests' own, thrown away afterwards; its URL."""
    assert PROGRAMS is not None
    # PostgreSQL doesn't start as root, and its folder must be its own.
    owner = next((u for u in ("postgres", "nobody") if _is_user(u)), None) if os.getuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as folder:
        if owner:
            shutil.chown(folder, owner)
        data, port = f"{folder}/data", free_port()
        run: Callable[..., object] = lambda *command: subprocess.run(  # noqa: E731
            command, user=owner, check=True, capture_output=True, cwd=folder
        )
        run(PROGRAMS / "initdb", "-D", data, "-U", "portal", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
        options = f"-p {port} -k {folder} -c fsync=off -c listen_addresses= -c max_connections=60"
        run(PROGRAMS / "pg_ctl", "-D", data, "-w", "-l", f"{folder}/log", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://portal@/postgres?host={folder}&port={port}"
        finally:
            run(PROGRAMS / "pg_ctl", "-D", data, "-m", "immediate", "stop")


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


@pytest.fixture(scope="module")
def postgres_world(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A portal on it, whose engine doesn't run."""
    instance = tmp_path_factory.mktemp("instance")
    shop, provider, ingest = Shop(instance, 0), Provider(), Ingest()
    threading.Thread(target=shop.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    made = make_bare_world(instance, shop, provider, ingest, database_url=postgres_url)
    with made.app.app_context():
        upgrade(engine())
        migrate(engine())
        take_every_event()
        yield made
        engine().dispose()
    ingest.closing.set()
    close(made.app)
    end(shop, provider, ingest)


def at_once(world: World, *jobs: Callable[[], Any]) -> list[Any]:
    """Do these at the same moment, each in a thread of its own; what each gave."""
    gate = threading.Barrier(len(jobs))

    def do(job: Callable[[], Any]) -> Any:
        with world.app.app_context():
            gate.wait()
            return job()

    with ThreadPoolExecutor(len(jobs)) as threads:
        return [done.result(30) for done in [threads.submit(do, job) for job in jobs]]
