"""A language: its translations, and how it writes dates."""

from __future__ import annotations

import gettext
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from babel import Locale
from babel.dates import format_datetime
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

HERE = Path(__file__).parent

# How moments are written; the translations of these say how another language does it
# (https://www.unicode.org/reports/tr35/tr35-dates.html#Date_Format_Patterns).
MOMENT = "d MMMM y, HH:mm 'UTC'"
MOMENT_IN_SENTENCE = "d MMMM y 'at' HH:mm 'UTC'"
DAY = "d MMMM"
DAY_OF_YEAR = "d MMMM y"
PATTERNS = (MOMENT, MOMENT_IN_SENTENCE, DAY, DAY_OF_YEAR)


@dataclass(frozen=True)
class Language:
    """A language by its tag (BCP 47). The files are read when they are needed first, and stay in memory."""

    tag: str

    @cached_property
    def locale(self) -> Locale:
        """What Unicode's CLDR knows of it."""
        return Locale.parse(self.tag, sep="-")

    @cached_property
    def name(self) -> str:
        """What it calls itself."""
        name = self.locale.get_display_name(self.locale) or self.tag
        return name[:1].upper() + name[1:]

    @cached_property
    def direction(self) -> str:
        """Which way it is written: the `dir` of a page."""
        return self.locale.text_direction

    @cached_property
    def catalogue(self) -> Catalog:
        """Its file; English has none."""
        if self == ENGLISH:
            return Catalog(locale=self.locale)
        with (HERE / f"{self.tag}.po").open("rb") as file:
            return read_po(file, locale=self.tag.replace("-", "_"), abort_invalid=True)

    @cached_property
    def _texts(self) -> dict[str, tuple[str, ...]]:
        found = {}
        for message in self.catalogue:
            key = message.id if isinstance(message.id, str) else message.id[0]
            texts = (message.string,) if isinstance(message.string, str) else tuple(message.string or ())
            if key and all(texts):
                found[key] = texts
        return found

    @cached_property
    def _form(self) -> Callable[[int], int]:
        return gettext.c2py(self.catalogue.plural_expr)

    def text(self, msgid: str, plural: str | None = None, count: int = 1) -> str:
        """What it says for `msgid`, or for `plural` with this `count`; the English, where it has no translation."""
        texts = self._texts.get(msgid)
        if texts is None:
            return msgid if plural is None or count == 1 else plural
        return texts[0] if plural is None else texts[self._form(count)]

    def moment(self, at: datetime, pattern: str = MOMENT) -> str:
        """A moment in words, in UTC."""
        if self == ENGLISH and pattern == MOMENT:  # on the way of nearly every request to the install page
            return f"{at.day} {at:%B %Y}, {at:%H:%M} UTC"
        return format_datetime(at, self.text(pattern), locale=self.locale)


ENGLISH = Language("en")
# By tag, English first.
LANGUAGES = {
    language.tag: language for language in (ENGLISH, *(Language(file.stem) for file in sorted(HERE.glob("*.po"))))
}
