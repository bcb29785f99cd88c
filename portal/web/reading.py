"""JSON that a stranger may have written, read so that nothing behind it trips over how deep it is nested."""

from __future__ import annotations

import json
from typing import Any

from flask.json.provider import DefaultJSONProvider

from portal.workflows.sizes import is_too_deep

DEEPEST = 200  # levels; what a run begins with has a limit of its own below that, with its own sentence


def read_json(text: str | bytes) -> Any:
    """The value that the text stands for. Raises ValueError, also for what is nested too deep."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if is_too_deep(value, DEEPEST):
        raise ValueError("nested too deep")
    return value


class BoundedJSON(DefaultJSONProvider):
    """What the application reads bodies with; a ValueError becomes the answer 400."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Read JSON. Raises ValueError."""
        return read_json(s)
