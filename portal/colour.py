"""Colour arithmetic: relative luminance and contrast as WCAG 2.2 defines them, and an accent that can be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

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


# The backgrounds that the accent is read on: --paper, --ground and --good-ground in static/portal.css.
_LIGHT = ("#ffffff", "#f3f4f7", "#e7f5ed")
_DARK = ("#16181d", "#0d0f12", "#12281d")
NEEDED = 4.5  # WCAG 2.2, success criterion 1.4.3


@dataclass(frozen=True)
class Shade:
    """An accent as a page shows it, light or dark: contrasts are the lowest of all backgrounds that it stands on."""

    look: str
    given: str
    given_contrast: float
    shown: str
    shown_contrast: float
    text: str  # on a button of this colour
    text_contrast: float

    @property
    def is_as_given(self) -> bool:
        """Whether the colour could stay as it is."""
        return self.given == self.shown


@lru_cache(maxsize=64)
def shades(accent: str) -> tuple[Shade, Shade]:
    """The accent as it is shown in light and in dark."""
    return _shade("light", accent, _LIGHT), _shade("dark", accent, _DARK)


def _shade(look: str, accent: str, backgrounds: Sequence[str]) -> Shade:
    shown = readable(accent, backgrounds, NEEDED)
    text = max(("#ffffff", "#000000"), key=lambda colour: contrast(shown, colour))

    def least(colour: str) -> float:
        return min(contrast(colour, background) for background in backgrounds)

    return Shade(look, accent, least(accent), shown, least(shown), text, contrast(shown, text))


@lru_cache(maxsize=64)
def accent_css(accent: str) -> str:
    """The accent as custom properties, shaded until it can be read in light and in dark."""
    light, dark = shades(accent)
    return (
        f":root{{--accent:{light.shown};--on-accent:{light.text}}}"
        f"@media (prefers-color-scheme:dark){{:root{{--accent:{dark.shown};--on-accent:{dark.text}}}}}"
    )
