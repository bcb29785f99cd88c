"""Letters that no text of ours can hold, and those that are made small.

Half a character has no UTF-8, and PostgreSQL's text no zero character.
"""

from __future__ import annotations

from string import ascii_uppercase

_SMALL = {ord(letter): letter.lower() for letter in ascii_uppercase}


def is_storable(text: str) -> bool:
    """Whether a database takes the text, and a page can show it."""
    return storable(text) == text


def storable(text: str) -> str:
    """The text with a mark in the place of each such letter."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def small(text: str) -> str:
    """The text with ASCII's capitals made small, and no other: that is what both databases' lower() does here."""
    return text.translate(_SMALL)
