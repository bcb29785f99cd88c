"""How large a value is: the bytes of its JSON, and how deep it is nested."""

from __future__ import annotations

import json
from typing import Any

DEEPEST_VALUE = 100  # levels of lists and mappings in a trigger item, and in what a step gives


def bytes_of(value: Any) -> int:
    """How many bytes a value takes as JSON."""
    return len(as_json(value))


def as_json(value: Any) -> bytes:
    """A value as compact JSON; also one that holds half a character, which UTF-8 has no place for."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def size_of(value: Any, most: int) -> int:
    """About how many bytes a value takes as JSON, counted only until that is more than `most`.

    What stands in it several times counts each time, as it would in JSON, without being written out.
    """
    size, waiting = 0, [value]
    while waiting and size <= most:
        one = waiting.pop()
        size += 2
        if isinstance(one, str):
            size += len(one)
        elif isinstance(one, dict):
            size += sum(map(len, one))
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return size


def is_too_deep(value: Any, most: int = DEEPEST_VALUE) -> bool:
    """Whether lists and mappings stand in each other in more than `most` levels."""
    level = [value]
    for _ in range(most + 1):
        level = [
            below
            for one in level
            if isinstance(one, dict | list)
            for below in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True
