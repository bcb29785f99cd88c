"""Letters that no text of ours can hold: half a character has no UTF-8, and PostgreSQL's text no zero character."""

from __future__ import annotations


def is_storable(text: str) -> bool:
    """Whether a database takes the text, and a page can show it."""
    return storable(text) == text


def storable(text: str) -> str:
    """The text with a mark in the place of each such letter."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
