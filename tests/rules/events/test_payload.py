"""The text of a payload: Node, given the text, writes the same bytes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from portal.events.payload import write_payload

NODE = shutil.which("node")
_ECHO = """
const lines = require("node:readline").createInterface({ input: process.stdin });
lines.on("line", (line) => console.log(JSON.stringify(JSON.stringify(JSON.parse(JSON.parse(line))))));
"""


@pytest.fixture(scope="module")
def through_node() -> Iterator[Callable[[str], str]]:
    """`JSON.stringify(JSON.parse(text))` in one Node process."""
    if NODE is None:
        pytest.skip("NODE IS MISSING: that payloads are byte for byte what Node writes was NOT checked")
    node = subprocess.Popen([NODE, "-e", _ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert node.stdin is not None and node.stdout is not None
    source, sink = node.stdout, node.stdin

    def ask(text: str) -> str:
        sink.write(json.dumps(text) + "\n")
        sink.flush()
        answer = json.loads(source.readline())
        assert isinstance(answer, str)
        return answer

    yield ask
    sink.close()
    node.wait(10)
    source.close()


def test_a_payload_is_compact_keeps_its_order_and_its_letters() -> None:
    payload = {"userId": "u1", "workflowIds": ["w2", "w1"], "name": "Café Ωmega 🛍 \u2028", "success": True, "a": None}

    assert write_payload(payload) == (
        '{"userId":"u1","workflowIds":["w2","w1"],"name":"Café Ωmega 🛍 \u2028","success":true,"a":null}'
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.0, "1"), (-0.0, "0"), (0.1 + 0.2, "0.30000000000000004"), (1e21, "1e+21"), (1e20, "1" + "0" * 20),
        (1e-6, "0.000001"), (1e-7, "1e-7"), (1.5e-9, "1.5e-9"), (5e-324, "5e-324"), (2**53 + 1, "9007199254740992"),
        (10**400, "null"), (float("nan"), "null"), (float("-inf"), "null"), (-12, "-12"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_javascript_writes_them(number: float, text: str) -> None:
    assert write_payload(number) == text


_TEXT = st.text(st.characters(), max_size=12)  # surrogates too
_KEYS = _TEXT | st.integers(0, 2**33).map(str) | st.sampled_from(["", "01", "-1", "1.5", "1٣", "__proto__", "²"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(10**25), 10**25) | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=12,
)


@given(_VALUES)
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example({"b": 1, "2": 1, "10": 1, "1": 1, "4294967294": 1, "4294967295": 1, "1٣": 1, "01": 1, "-1": 1})
@example(["\ud83d\ude00", "\ud83d", "\ude00\ud83d", "\x00\x1f\x7f\x80\u2028\u2029\ufeff"])
@example([10**400, -(10**22), 2**53 + 1, 123456789.123456789, 1e16, 1.7976931348623157e308])
def test_node_writes_the_same_bytes(through_node: Callable[[str], str], value: Any) -> None:
    text = write_payload(value)

    text.encode()  # it can be sent
    assert through_node(text) == text


@given(st.dictionaries(st.text(), st.text() | st.booleans() | st.integers(-(2**53), 2**53) | st.lists(st.text())))
def test_nothing_is_lost(value: dict[str, Any]) -> None:
    assert json.loads(write_payload(value)) == value
