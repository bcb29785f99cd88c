"""What logs may show: secrets and declared personal fields are masked, and long values are cut."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

from portal.catalogue import App
from portal.letters import storable

T = TypeVar("T")

MASK = "•••"
LOGGED = 8_000  # characters of an input or an output that are kept
SHORTEST_SECRET = 4  # what is shorter stands in too many innocent texts
SHORTEST_PERSONAL = 3
KNOWN_BY = 100  # characters by which a longer value is known again; as many as it has are masked then
_SECRET_KEYS = frozenset({"authorization", "cookie", "set-cookie", "x-api-key", "password", "secret", "token"})


class Masker:
    """Masks for one run: the values of its credentials, and the personal fields that its apps declare.

    What stood in a personal field is masked wherever it turns up later: under another name, in a text, in an address.
    """

    def __init__(self, *, personal: Collection[str], secrets: Collection[str]) -> None:
        self._personal = frozenset(key.lower() for key in personal)
        self._keys = self._personal | _SECRET_KEYS
        self._hidden: dict[str, int] = {}  # by what a value is known, and how long it is
        self._lengths: list[int] = []  # of what values are known by, the longest first
        self._beginnings: set[str] = set()
        self._hide(secret for secret in secrets if len(secret) >= SHORTEST_SECRET)

    def _hide(self, values: Iterable[str]) -> None:
        for written in (written for value in values for written in _ways_to_write(value)):
            known_by = written[:KNOWN_BY]
            self._hidden[known_by] = max(len(written), self._hidden.get(known_by, 0))
            self._beginnings.add(written[:SHORTEST_PERSONAL])
        self._lengths = sorted({len(known_by) for known_by in self._hidden}, reverse=True)

    def learn(self, value: Any) -> None:
        """Remember what stands in the personal fields of a value."""
        self._hide(text for text in _below(value, self._personal) if len(text) >= SHORTEST_PERSONAL)

    def text(self, text: str) -> str:
        """A text without the secrets, and without what stood in personal fields."""
        return "".join(self._pieces(text))

    def _pieces(self, text: str) -> list[str]:
        """The text in pieces that follow each other: what may be shown, and masks; the last one may be shown.

        What that takes grows with the text alone, however many values there are to hide: a stranger's shop says how
        many, and a pattern of them all would hold everything up.
        """
        pieces, at, kept = [], 0, 0
        while at < len(text):
            if text[at : at + SHORTEST_PERSONAL] in self._beginnings and (length := self._hidden_at(text, at)):
                pieces += [text[kept:at], MASK]
                at = kept = at + length
            else:
                at += 1
        return [*pieces, text[kept:]]

    def _hidden_at(self, text: str, at: int) -> int:
        """How long the value is that begins there; 0 for none."""
        found = (self._hidden.get(text[at : at + length], 0) for length in self._lengths)
        return next(filter(None, found), 0)

    def sentence(self, text: str) -> str:
        """An error as it is kept and told: without secrets, and not too long."""
        return storable(self._within(text, _Room(1000)))[:1000]

    def value(self, value: Any) -> Any:
        """A copy of a value without secrets and personal fields."""
        return self._copy(value, _Room(sys.maxsize))

    def _copy(self, value: Any, room: _Room) -> Any:
        room.take(1)
        if isinstance(value, str):
            return self._within(value, room)
        if isinstance(value, Mapping):
            return {
                self._within(str(key), room): MASK
                if str(key).lower() in self._keys and item not in (None, "")
                else self._copy(item, room)
                for key, item in room.each(value.items())
            }
        if isinstance(value, list | tuple):
            return [self._copy(item, room) for item in room.each(value)]
        if isinstance(value, int | float) and str(value) in self._hidden:
            return MASK
        return value

    def _within(self, text: str, room: _Room) -> str:
        """The beginning of a text for which there is room, masked."""
        read = room.left + KNOWN_BY
        *pieces, last = self._pieces(text[:read])
        if len(text) > read:
            room.is_cut = True
            last = last[:-KNOWN_BY]  # where a value may stand that was cut so that it isn't known again
        masked = "".join([*pieces, last])
        room.take(len(masked))
        return masked

    def log(self, value: Any) -> str | None:
        """A value as it is kept in a log: masked JSON of at most `LOGGED` characters (then no longer JSON)."""
        if value is None:
            return None
        room = _Room(LOGGED)
        text = storable(json.dumps(self._copy(value, room), ensure_ascii=False).replace("\\u0000", "\\ufffd"))
        return text if len(text) <= LOGGED and not room.is_cut else text[:LOGGED] + "…"


class _Room:
    """How many characters of a copy are still wanted."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.is_cut = False

    def take(self, characters: int) -> None:
        """Use some of it up."""
        self.left = max(0, self.left - characters)

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """The items for which there is room."""
        for item in items:
            if not self.left:
                self.is_cut = True
                return
            yield item


def masker_for(apps: Mapping[str, App], credentials: Mapping[str, Mapping[str, str]]) -> Masker:
    """The mask for what these apps and these credentials (clear values by app) have to do with."""
    secrets = [
        values[field.name]
        for name, values in credentials.items()
        if name in apps
        for field in apps[name].fields
        if field.is_secret and values.get(field.name)
    ]
    return Masker(personal={key for app in apps.values() for key in app.personal}, secrets=secrets)


def _ways_to_write(value: str) -> set[str]:
    """A value as it is, and as it stands in an address."""
    safe = storable(value)
    return {value, quote(safe, safe=""), quote_plus(safe)}


def _below(value: Any, keys: Collection[str], is_personal: bool = False) -> Iterator[str]:
    """Every text and number that stands in one of the fields `keys`, or in what these hold."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _below(item, keys, is_personal or str(key).lower() in keys)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _below(item, keys, is_personal)
    elif is_personal and isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)


def read_log(text: str | None) -> Any:
    """What `Masker.log` kept, as a value; a text that was cut comes as `{"cut": …}`."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return {"cut": text}
