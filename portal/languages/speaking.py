"""The language in which the page at hand is written. It is set anew for each request."""

from __future__ import annotations

from contextvars import ContextVar

from portal.languages.language import ENGLISH, Language

_spoken: ContextVar[Language] = ContextVar("language", default=ENGLISH)


def language() -> Language:
    """The language that pages are written in just now."""
    return _spoken.get()


def speak(chosen: Language) -> None:
    """Write in this language from here on."""
    _spoken.set(chosen)
