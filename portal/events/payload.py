"""The text of a payload: byte for byte what `JSON.stringify(JSON.parse(text))` gives in Node."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")
_INDEX = re.compile(r"0|[1-9]\d{0,9}")


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
    return _number(float(value)) if isinstance(value, float) or abs(value) > 2**53 else str(value)


def _text(value: str) -> str:
    # A lone surrogate has no UTF-8; well-formed JSON.stringify escapes it in lower case.
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))


def _ordered(value: dict[str, Any]) -> list[str]:
    # JavaScript objects give keys that look like array indices first, in numeric order.
    indices = sorted((key for key in value if _INDEX.fullmatch(key) and int(key) < 2**32 - 1), key=int)
    return indices + [key for key in value if key not in set(indices)] if indices else list(value)


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
