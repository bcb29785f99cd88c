"""A sentence for end users: English wherever it is stored, logged or sent, and the page's language on a page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from markupsafe import Markup, escape

from portal.languages.language import ENGLISH, MOMENT_IN_SENTENCE, Language
from portal.languages.speaking import language

Fact = str | int | datetime


class Declared(str):
    """The title of something that is declared. Inside a sentence, English writes it small, others as it stands."""

    __slots__ = ()


class Sentence(str):
    """The English sentence, which remembers what it was made of, so that a page can say it in another language.

    Templates needn't do anything for that: written into a page, it is in the page's language.
    """

    __slots__ = ("_count", "_facts", "_msgid", "_plural")

    _msgid: str
    _plural: str | None
    _count: int
    _facts: dict[str, Fact]

    def __new__(cls, msgid: str, facts: dict[str, Fact], plural: str | None = None, count: int = 1) -> Sentence:
        """Put the English into words."""
        made = super().__new__(cls, _put(ENGLISH, ENGLISH.text(msgid, plural, count), facts))
        made._msgid, made._plural, made._count, made._facts = msgid, plural, count, facts
        return made

    def said(self, spoken: Language | None = None) -> str:
        """The sentence in a language, by default that of the page at hand."""
        spoken = spoken or language()
        if spoken == ENGLISH:
            return str(self)
        return _put(spoken, spoken.text(self._msgid, self._plural, self._count), self._facts)

    def __html__(self) -> Markup:
        """The sentence in the page's language, escaped."""
        return escape(self.said())


def _put(spoken: Language, text: str, facts: dict[str, Fact]) -> str:
    if not facts:  # braces in it are no places for facts, then
        return text
    return text.format(**{name: _said(spoken, fact) for name, fact in facts.items()})


def _said(spoken: Language, fact: Fact) -> Fact:
    if isinstance(fact, datetime):
        return spoken.moment(fact, MOMENT_IN_SENTENCE)
    if isinstance(fact, Sentence):
        return fact.said(spoken)
    if isinstance(fact, Declared):
        if spoken != ENGLISH:
            return spoken.text(fact)
        return fact if fact[:2].isupper() else fact[:1].lower() + fact[1:]
    return fact


def sentence(msgid: str, **facts: Fact) -> Sentence:
    """A sentence; `msgid` is the English, with the names of facts in braces."""
    return Sentence(msgid, facts)


def plural(one: str, many: str, count: int, **facts: Fact) -> Sentence:
    """A sentence that depends on a number, which is the fact `count`."""
    return Sentence(one, {"count": count, **facts}, many, count)


def words(msgid: str) -> str:
    """Mark a text that becomes a sentence elsewhere, so that it is known to need translations."""
    return msgid


def listed(titles: Sequence[str]) -> str:
    """Titles in one phrase: `Magento, Shopify and Slack`."""
    return sentence("{most} and {last}", most=", ".join(titles[:-1]), last=titles[-1]) if titles[1:] else titles[0]


def either(titles: Sequence[str]) -> str:
    """Titles of which one is meant, in one phrase: `key or secret`."""
    phrase = titles[0]
    for title in titles[1:]:
        phrase = sentence("{this} or {that}", this=phrase, that=title)
    return phrase
