"""Both signatures hold for those who check them as we say, in Python and in Node, and for nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask

from portal.events.payload import write_payload
from portal.events.schedule import WAITS
from portal.events.signing import alloy_signature_holds, sign, standard_signature_holds
from portal.keys.reading import split_keys
from portal.keys.ring import KeyRing
from portal.settings import MissingSetting

URL = "https://vendor.example:8443/hooks/ü?a=b"
BODY = write_payload({"who": "Café Ωmega 🛍", "line": "\u2028\ud800", "numbers": [1.5, {"n": [1e21, -0.0]}], "2": 1})
EVENT = "65f0c0ffee0000000000e001"
PAGE = Path(__file__).parents[3] / "docs/webhooks.md"


@dataclass
class Delivered:
    """What an endpoint has in hand when it checks a delivery."""

    url: str
    headers: dict[str, str]
    body: str
    public_key: str
    secret: str

    def but(self, **changed: str) -> Delivered:
        """The same with some headers changed (underscores for hyphens), or the url or body."""
        facts = {name: changed.pop(name) for name in ("url", "body", "secret") if name in changed}
        headers = self.headers | {name.replace("_", "-"): value for name, value in changed.items()}
        return replace(self, headers=headers, **facts)


@pytest.fixture
def keys(app: Flask) -> KeyRing:
    ring: KeyRing = app.extensions["keys"]
    return ring


def delivered(keys: KeyRing, at: datetime | None = None) -> Delivered:
    headers = sign(keys, url=URL, body=BODY, event_id=EVENT, at=at or datetime.now(UTC))
    lowered = {name.lower(): value for name, value in headers.items()}
    return Delivered(URL, lowered, BODY, keys.public_key_pem.decode(), keys.webhook_secrets[-1])


def alloy_holds(it: Delivered) -> bool:
    return alloy_signature_holds(
        it.public_key.encode(), it.headers["x-alloy-signature"], url=it.url, body=it.body.encode()
    )


def standard_holds(it: Delivered) -> bool:
    return standard_signature_holds([it.secret], it.headers, it.body.encode())


def test_each_attempt_has_its_own_time_and_the_same_id(keys: KeyRing) -> None:
    now = datetime.now(UTC)
    first, second = delivered(keys, now), delivered(keys, now + timedelta(seconds=30))

    assert first.headers["content-type"] == "application/json"
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == EVENT
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 30
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert first.headers["x-alloy-signature"] == second.headers["x-alloy-signature"]


def test_our_own_check_accepts_it_and_nothing_that_was_altered(keys: KeyRing) -> None:
    it = delivered(keys)

    assert alloy_holds(it) and standard_holds(it)
    assert not alloy_holds(it.but(body=BODY + " "))
    assert not alloy_holds(it.but(url=URL + "/"))
    assert not standard_holds(it.but(body=BODY.replace("1.5", "1.6")))
    assert not standard_holds(it.but(webhook_id=EVENT[::-1]))
    assert not standard_holds(delivered(keys, datetime.now(UTC) - timedelta(minutes=6)))


@pytest.mark.parametrize("signature", ["", "zz", "00", "é", "ab" * 5000])
def test_a_signature_that_is_none_does_not_hold(keys: KeyRing, signature: str) -> None:
    it = delivered(keys).but(x_alloy_signature=signature, webhook_signature=f"v1,{signature}")

    assert not alloy_holds(it)
    assert not standard_holds(it)
    assert not standard_holds(it.but(webhook_signature=signature))


def test_a_missing_or_empty_secret_holds_for_nothing(keys: KeyRing) -> None:
    it = delivered(keys)

    assert not standard_signature_holds([], it.headers, it.body.encode())
    assert not standard_signature_holds(["whsec_", "?"], it.headers, it.body.encode())
    assert not standard_signature_holds([it.secret], {}, b"\xff")


def test_while_keys_change_both_public_keys_are_there_and_both_secrets_sign(keys: KeyRing) -> None:
    before = delivered(keys)
    keys.rotate_webhook_keys()
    during = delivered(keys)

    assert keys.is_changing
    assert during.secret != before.secret
    assert standard_holds(during) and standard_holds(during.but(secret=before.secret))
    # Nothing is signed with the new RSA key yet: who has the old one alone notices nothing.
    assert during.headers["x-alloy-signature"] == before.headers["x-alloy-signature"]
    announced = split_public(keys)
    assert announced[0] == before.public_key
    assert len(set(announced)) == 2

    keys.switch_webhook_keys()
    after = delivered(keys)

    assert not keys.is_changing
    assert after.public_key == announced[1]
    assert split_public(keys) == [after.public_key]
    assert alloy_holds(after) and standard_holds(after)
    assert after.secret == during.secret
    assert not standard_holds(after.but(secret=before.secret))


@pytest.mark.parametrize("verified", ["in_python", "in_node"])
def test_an_endpoint_that_knows_the_announced_keys_verifies_before_and_after_the_switch(
    keys: KeyRing, verified: str
) -> None:
    keys.rotate_webhook_keys()
    known = {"public_key": keys.public_keys_pem.decode(), "secret": keys.webhook_secrets[-1]}
    before = replace(delivered(keys), **known)
    keys.switch_webhook_keys()
    after = replace(delivered(keys), **known)

    for it in (before, after):
        assert globals()[verified](it) == ""


def test_one_change_of_keys_at_a_time(keys: KeyRing) -> None:
    with pytest.raises(MissingSetting, match="keys rotate --webhooks"):
        keys.switch_webhook_keys()
    keys.rotate_webhook_keys()
    with pytest.raises(MissingSetting, match="flask keys switch"):
        keys.rotate_webhook_keys()


def split_public(keys: KeyRing) -> list[str]:
    return split_keys(keys.public_keys_pem.decode())


def snippet(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(found) == 1, f"docs/webhooks.md has {len(found)} snippets in {language}"
    return str(found[0])


def in_python(it: Delivered) -> str:
    code = snippet("python") + "\nimport json, sys\nd = json.load(sys.stdin)\n"
    code += "verify(d['url'], d['headers'], d['body'].encode(), d['public_key'].encode(), d['secret'])\n"
    return run([sys.executable, "-c", code], it)


def in_node(it: Delivered) -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip("NODE IS MISSING: the Node snippet of docs/webhooks.md was NOT checked")
    code = snippet("javascript") + "\nconst d = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));\n"
    code += "verify(d.url, d.headers, Buffer.from(d.body), d.public_key, d.secret);\n"
    return run([node, "-e", code], it)


def run(command: list[str], it: Delivered) -> str:
    """'' when the snippet accepted the delivery, otherwise what it said."""
    done = subprocess.run(command, input=json.dumps(it.__dict__), capture_output=True, text=True, timeout=30)
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("verified", [in_python, in_node])
def test_the_documented_snippet_accepts_a_delivery(keys: KeyRing, verified: object) -> None:
    assert verified(delivered(keys)) == ""  # type: ignore[operator]


@pytest.mark.parametrize(
    ("changed", "python_says", "node_says"),
    [
        ({"url": "https://vendor.example/"}, "X-Alloy-Signature does not hold", "X-Alloy-Signature does not hold"),
        ({"webhook_id": "another"}, "No matching signature", "webhook-signature does not hold"),
        ({"webhook_timestamp": "1"}, "too old", "too old"),
        ({"webhook_timestamp": "soon"}, "Invalid Signature Headers", "too old"),
        ({"webhook_signature": "v1,AAAA v2,"}, "No matching signature", "webhook-signature does not hold"),
    ],
)
def test_the_documented_snippets_refuse_what_was_altered(
    keys: KeyRing, changed: dict[str, str], python_says: str, node_says: str
) -> None:
    altered = delivered(keys).but(**changed)

    assert python_says in in_python(altered)
    assert node_says in in_node(altered)


def test_the_documented_waits_are_those_of_the_schedule() -> None:
    units = {"second": 1, "minute": 60, "hour": 3600}
    rows = re.findall(r"^\| \d+ \| (\d+) (second|minute|hour)s? \|$", PAGE.read_text("utf-8"), re.MULTILINE)

    assert [int(number) * units[unit] for number, unit in rows] == [wait.total_seconds() for wait in WAITS]
