"""The languages of the install page: one file of translations (`de.po`) for each; English is what the code says.

To add one, add its file. What the vendor's side reads (dashboard, API, events, what is stored) stays English.
"""

from portal.languages.choosing import choose
from portal.languages.language import ENGLISH, LANGUAGES, Language
from portal.languages.sentence import Declared, Sentence, either, listed, plural, sentence, words
from portal.languages.speaking import language, speak

__all__ = [
    "ENGLISH",
    "LANGUAGES",
    "Declared",
    "Language",
    "Sentence",
    "choose",
    "either",
    "language",
    "listed",
    "plural",
    "sentence",
    "speak",
    "words",
]
