"""What may be said about a new link, as it is typed: how long it lives, where its success page leads."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import urlsplit

from portal.durations import parse_duration
from portal.links.errors import BadLinkOption

LONGEST_LIFE = timedelta(days=366)


def parse_life(text: str) -> timedelta:
    """Read `7d`, `12h`, `90m`, `30s` or plain seconds. Raises `BadLinkOption`."""
    try:
        life = parse_duration(text)
    except ValueError:
        life = timedelta(0)
    if not timedelta(0) < life <= LONGEST_LIFE:
        raise BadLinkOption(f"“{text}” is not a life for a link: write 7d, 12h or 90m, at most a year.")
    return life


def require_redirect(url: str | None) -> str | None:
    """The address to come back to; None for none. Raises `BadLinkOption`."""
    if url:
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if (
            parts.scheme not in ("https", "http")
            or not parts.hostname
            or len(url) > 2000
            or re.search(r"[\s<>\"\\]", url)
        ):
            raise BadLinkOption(f"“{url[:200]}” is no address to come back to: it must begin with https://.")
    return url or None
