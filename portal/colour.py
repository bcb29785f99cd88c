"""Colour arithmetic: relative luminance and contrast as WCAG 2.2 defines them, and an accent that can be read."""

from __future__ import annotations

import re
from collections.abc import Sequence

_HEX = re.compile(r"#[0-9a-fA-F]{6}\Z")


def require_colour(value: str) -> str:
    """Return `value` in lower case when it is `#rrggbb`; raises ValueError otherwise."""
    if not _HEX.match(value):
        raise ValueError("must be a colour such as #1f5fbf")
    return value.lower()


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def luminance(colour: str) -> float:
    """Relative luminance, 0 to 1 (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in _channels(colour))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def readable(colour: str, backgrounds: Sequence[str], wanted: float = 4.5) -> str:
    """The shade nearest to `colour` with the `wanted` contrast on each of `backgrounds`, all light or all dark."""
    target = 0 if luminance(backgrounds[0]) > 0.18 else 255
    for step in range(51):
        shade = "#" + "".join(f"{round(c + (target - c) * step / 50):02x}" for c in _channels(colour))
        if min(contrast(shade, background) for background in backgrounds) >= wanted:
            return shade
    return "#000000" if target == 0 else "#ffffff"
