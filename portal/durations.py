"""Lengths of time as people write them: 90s, 5m, 12h, 7d."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str | int) -> timedelta:
    """Read `90s`, `5m`, `12h`, `7d` or plain seconds. Raises ValueError with a sentence."""
    match = re.fullmatch(r"\s*(\d{1,9})\s*([smhd]?)\s*", str(text), re.ASCII)
    if not match:
        raise ValueError(f"“{text}” is not a length of time: write 90s, 5m, 12h or 7d")
    return timedelta(**{_UNITS[match[2] or "s"]: int(match[1])})
