"""The listener, as a process of its own, says for each delivery whether its signatures hold."""

from __future__ import annotations

import json
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, Any

import pytest
from flask import Flask

from portal.events.payload import write_payload
from portal.events.signing import sign

from .conftest import PATIENCE

ROOT = Path(__file__).parents[3]
BODY = write_payload({"success": True, "shop": "Café 🛍", "half": "\ud800"})
EVENT = "65f0c0ffee0000000000e001"


@dataclass
class Listening:
    """A listener that runs."""

    process: subprocess.Popen[str]
    port: int
    lines: queue.Queue[str]

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> int:
        """The status of its answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request("POST", path, body, headers)
        return connection.getresponse().status

    def says(self) -> str:
        """Its next line."""
        return self.lines.get(timeout=PATIENCE)

    def block(self) -> str:
        """The next delivery as it is printed for people."""
        lines = [self.says()]
        while "webhook-signature" not in lines[-1]:
            lines.append(self.says())
        return "\n".join(lines)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start(app: Flask) -> Iterator[Callable[..., Listening]]:
    """Starts listeners."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*options: str, instance: str = app.instance_path) -> Listening:
        port = free_port()
        command = [sys.executable, "-m", "portal.events.listener", "--instance", instance, "--port", str(port)]
        process = subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_pass_on, args=(process.stdout, lines), daemon=True).start()
        _until_it_listens(port)
        return Listening(process, port, lines)

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def _pass_on(output: IO[str], lines: queue.Queue[str]) -> None:
    for line in output:
        lines.put(line.rstrip("\n"))


def _until_it_listens(port: int) -> None:
    pause = threading.Event()
    for _ in range(400):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        pause.wait(0.025)
    raise AssertionError("the listener did not start")


def signed(app: Flask, url: str, body: str = BODY) -> dict[str, str]:
    return sign(app.extensions["keys"], url=url, body=body, event_id=EVENT, at=datetime.now(UTC))


@pytest.mark.parametrize("path", ["/webhook", "/ingest", "/a/b?c=d"])
def test_a_delivery_of_ours_is_verified_at_whatever_path_it_came(
    app: Flask, start: Callable[..., Listening], path: str
) -> None:
    listening = start("--json")

    status = listening.post(path, BODY.encode(), signed(app, f"http://127.0.0.1:{listening.port}{path}"))

    told: dict[str, Any] = json.loads(listening.says())
    assert status == 204
    assert (told["path"], told["webhookId"], told["body"]) == (path, EVENT, BODY)
    assert told["signatures"] == {"X-Alloy-Signature": True, "webhook-signature": True}


def test_people_read_what_came_and_that_it_holds(app: Flask, start: Callable[..., Listening]) -> None:
    listening = start()

    listening.post("/webhook", BODY.encode(), signed(app, f"http://127.0.0.1:{listening.port}/webhook"))

    block = listening.block()
    assert f"/webhook (webhook-id {EVENT})" in block
    assert "X-Alloy-Signature: verified" in block
    assert "webhook-signature: verified" in block
    body = [listening.says() for _ in range(5)]
    assert body[1:4] == ['    "success": true,', '    "shop": "Café 🛍",', '    "half": "\\ud800"']


def test_behind_another_address_it_checks_with_the_configured_one(app: Flask, start: Callable[..., Listening]) -> None:
    listening = start("--json", "--url", "https://tunnel.example/webhook")

    listening.post("/webhook", BODY.encode(), signed(app, "https://tunnel.example/webhook"))

    assert all(json.loads(listening.says())["signatures"].values())


def test_a_configured_url_without_a_path_is_checked_as_it_stands(app: Flask, start: Callable[..., Listening]) -> None:
    listening = start("--json")

    listening.post("/", BODY.encode(), signed(app, f"http://127.0.0.1:{listening.port}"))

    assert all(json.loads(listening.says())["signatures"].values())


def test_what_is_not_from_the_portal_is_printed_as_such(app: Flask, start: Callable[..., Listening]) -> None:
    listening = start()

    assert listening.post("/webhook", b"\x1b[2Jnot \xff json", {"webhook-id": "\x9b31m"}) == 204

    block, body = listening.block(), listening.says()
    assert "X-Alloy-Signature: DOES NOT HOLD" in block
    assert "webhook-signature: DOES NOT HOLD" in block
    assert body == "  \\x1b[2Jnot \ufffd json"
    assert "\x9b" not in block and "\\x9b31m" in block


@pytest.mark.parametrize(
    ("length", "status"), [("soon", 411), ("-5", 411), ("٣", 411), ("1000001", 413), ("9" * 5000, 413)]
)
def test_a_body_without_a_good_length_is_refused(
    app: Flask, start: Callable[..., Listening], length: str, status: int
) -> None:
    listening = start("--json")

    assert listening.post("/webhook", b"", {"Content-Length": length.encode("utf-8").decode("latin-1")}) == status


def test_it_starts_before_there_are_keys_and_sees_them_when_they_come(
    app: Flask, start: Callable[..., Listening], tmp_path: Path
) -> None:
    folder = tmp_path / "fresh"
    listening = start("--json", instance=str(folder))
    headers = signed(app, f"http://127.0.0.1:{listening.port}/webhook")
    assert listening.post("/webhook", BODY.encode(), headers) == 503

    folder.mkdir()
    (folder / "keys").symlink_to(Path(app.instance_path) / "keys")

    assert listening.post("/webhook", BODY.encode(), headers) == 204
    assert all(json.loads(listening.says())["signatures"].values())


def test_it_is_light_and_ends_when_asked(app: Flask, start: Callable[..., Listening]) -> None:
    listening = start("--json")
    listening.post("/webhook", BODY.encode(), signed(app, f"http://127.0.0.1:{listening.port}/webhook"))
    status = Path(f"/proc/{listening.process.pid}/status")
    if status.exists():  # Linux
        (resident,) = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmRSS")]
        assert int(resident) < 40_000  # kB

    listening.process.send_signal(signal.SIGTERM)

    assert listening.process.wait(5) == 0


def test_a_port_that_is_taken_is_explained(app: Flask, start: Callable[..., Listening]) -> None:
    taken = start().port
    command = [sys.executable, "-m", "portal.events.listener", "--instance", app.instance_path, "--port", str(taken)]

    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)

    assert second.returncode == 1
    assert f"can't use port {taken}" in second.stderr
