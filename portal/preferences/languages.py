"""Which languages the install page is offered in."""

from __future__ import annotations

from portal.languages import LANGUAGES, Language
from portal.settings import Settings


def offered_languages(settings: Settings) -> list[Language]:
    """The languages to choose from; the default is always among them."""
    return [one for tag, one in LANGUAGES.items() if tag in settings.languages or tag == settings.language]
