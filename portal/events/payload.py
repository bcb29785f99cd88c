"""The text of a payload: byte for byte what `JSON.stringify(JSON.parse(text))` gives in Node."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


def write_payload(value: Any) -> str:
    """Compact JSON in insertion order, non-ASCII as it is (ECMA-262, JSON.stringify)."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{_text(key)}:{write_payload(value[key])}" for key in _ordered(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(write_payload(item) for item in value) + "]"
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int) and abs(value) <= 2**53:
        return str(value)
    try:
        return _number(float(value))
    except OverflowError:  # an integer that JavaScript reads as Infinity
        return "null"


def _text(value: str) -> str:
    # Two halves that make one character are that character to JavaScript; a lone one has no UTF-8, and
    # well-formed JSON.stringify escapes it in lower case.
    if _SURROGATE.search(value):
        value = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))


def _ordered(value: dict[str, Any]) -> list[str]:
    # JavaScript objects give keys that look like array indices first, in numeric order.
    indices = sorted((key for key in value if _INDEX.fullmatch(key) and int(key) < 2**32 - 1), key=int)
    first = set(indices)
    return indices + [key for key in value if key not in first]


def _number(value: float) -> str:
    """ECMA-262, Number::toString."""
    if not math.isfinite(value):
        return "null"
    if value == 0:
        return "0"
    if 1e-6 <= abs(value) < 1e21:
        text = format(Decimal(repr(value)), "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa.removesuffix('.0')}e{'+' if int(exponent) > 0 else '-'}{abs(int(exponent))}"
