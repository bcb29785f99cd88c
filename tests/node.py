"""A node in a process of its own, the engine alone, whose times are short; and starting and killing some."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from tests.runtime import World

HERE = Path(__file__).parent.parent
DEAD = 5.0  # seconds: more than a busy machine lets a living node be silent for

Start = Callable[..., subprocess.Popen[str]]


def main() -> None:
    """Run the engine until killed; what is set comes from the environment."""
    from portal import create_app
    from portal.background import nodes
    from portal.background.engine import running
    from portal.settings import MissingSetting

    nodes.BEAT, nodes.LOOK, nodes.PATIENCE = 0.2, 2, 0.2
    nodes.DEAD = timedelta(seconds=float(os.environ.get("NODE_DEAD", DEAD)))
    app = create_app()
    try:
        with running(app, app.config["PORTAL_SETTINGS"]):
            print("up", flush=True)
            while True:
                time.sleep(60)
    except MissingSetting as missing:
        print(missing, flush=True)


@contextmanager
def nodes_of(world: World) -> Iterator[Start]:
    """Start nodes on a world's database by name, and end all of them afterwards."""
    settings, started = world.app.config["PORTAL_SETTINGS"], []

    def start(name: str, **more: str) -> subprocess.Popen[str]:
        env = {
            **os.environ,
            "PORTAL_INSTANCE": str(settings.instance),
            "PORTAL_DATABASE_URL": settings.database_url,
            "PORTAL_BASE_URL": settings.base_url,
            "PORTAL_ALLOW_PRIVATE_NETWORK": settings.allow_private_network,
            "PORTAL_DEMO_INGEST_URL": settings.demo_ingest_url,
            "PORTAL_EXECUTOR_ID": name,
            **more,
        }
        node = subprocess.Popen(
            [sys.executable, "-m", "tests.node"], cwd=HERE, env=env, stdout=subprocess.PIPE, text=True
        )
        started.append(node)
        return node

    try:
        yield start
    finally:
        for node in started:
            kill(node)


def says(node: subprocess.Popen[str]) -> str:
    """The next line that a node prints: "up", once it is, or why it can't be."""
    assert node.stdout is not None
    for line in node.stdout:
        if not line.startswith(("{", "2")):  # the log
            return line.strip()
    return ""


def kill(node: subprocess.Popen[str]) -> None:
    """kill -9"""
    node.kill()
    node.wait(10)
    if node.stdout is not None:
        node.stdout.close()


if __name__ == "__main__":
    main()
