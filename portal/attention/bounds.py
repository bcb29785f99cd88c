"""How far the overview looks: back, ahead, and into how many rows."""

from __future__ import annotations

from datetime import timedelta

SOON = timedelta(days=1)
LOOK_BACK = timedelta(days=7)
MOST = 10  # of each kind; the lists have all of them
LOOKED_AT = 100  # rows that a question may look at one by one
