"""Which language a page is written in: what its link says, else what its reader's browser says, else the default."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from portal.languages.language import ENGLISH, LANGUAGES, Language

_LONGEST = 500  # characters of a header that are looked at


def choose(locale: str | None, accepted: str, offered: tuple[str, ...], default: str) -> Language:
    """The language of a page: of a link's `locale` and an `Accept-Language` header, as far as it is `offered`."""
    return _choose(locale, accepted[:_LONGEST], offered, default)


@lru_cache(maxsize=1000)
def _choose(locale: str | None, accepted: str, offered: tuple[str, ...], default: str) -> Language:
    among = {tag.lower(): LANGUAGES[tag] for tag in (*offered, default) if tag in LANGUAGES}
    for tag in (locale or "", *_by_liking(accepted)):
        while tag:
            if found := among.get(tag.lower()):
                return found
            tag = tag.rpartition("-")[0]  # de-AT is a kind of de
    return LANGUAGES.get(default, ENGLISH)


def _by_liking(accepted: str) -> Iterator[str]:
    """The tags of an `Accept-Language` header (RFC 9110, section 12.5.4), the most liked first."""
    liked = []
    for part in accepted.split(","):
        tag, _, weight = part.partition(";")
        try:
            liking = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if 0 < liking <= 1:
            liked.append((liking, tag.strip()))
    return (tag for _, tag in sorted(liked, key=lambda pair: -pair[0]))
