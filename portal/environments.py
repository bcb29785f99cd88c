"""The two environments of a portal. What belongs to one is never seen from the other."""

from __future__ import annotations

import enum


class Environment(enum.StrEnum):
    """Goes with the API key; everything that a key makes belongs to its environment."""

    development = "development"
    production = "production"
