"""What logs may show: secrets and declared personal fields are masked, and long values are cut."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from portal.catalogue import App

MASK = "•••"
LOGGED = 8_000  # characters of an input or an output that are kept
SHORTEST_SECRET = 4  # what is shorter stands in too many innocent texts
SHORTEST_PERSONAL = 3
_SECRET_KEYS = frozenset({"authorization", "cookie", "set-cookie", "x-api-key", "password", "secret", "token"})


class Masker:
    """Masks for one run: the values of its credentials, and the personal fields that its apps declare.

    What stood in a personal field is masked wherever it turns up later: under another name, in a text, in an address.
    """

    def __init__(self, *, personal: Collection[str], secrets: Collection[str]) -> None:
        self._personal = frozenset(key.lower() for key in personal)
        self._keys = self._personal | _SECRET_KEYS
        self._hidden: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._hide(secret for secret in secrets if len(secret) >= SHORTEST_SECRET)

    def _hide(self, values: Iterable[str]) -> None:
        fresh = {written for value in values for written in _ways_to_write(value)} - self._hidden
        if fresh:
            self._hidden |= fresh
            longest_first = sorted(self._hidden, key=len, reverse=True)
            self._pattern = re.compile("|".join(re.escape(text) for text in longest_first))

    def learn(self, value: Any) -> None:
        """Remember what stands in the personal fields of a value."""
        self._hide(text for text in _below(value, self._personal) if len(text) >= SHORTEST_PERSONAL)

    def text(self, text: str) -> str:
        """A text without the secrets, and without what stood in personal fields."""
        return self._pattern.sub(MASK, text) if self._pattern else text

    def sentence(self, text: str) -> str:
        """An error as it is kept and told: without secrets, and not too long."""
        return storable(self.text(text))[:1000]

    def value(self, value: Any) -> Any:
        """A copy of a value without secrets and personal fields."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): MASK
                if str(key).lower() in self._keys and item not in (None, "")
                else self.value(item)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if isinstance(value, int | float) and str(value) in self._hidden:
            return MASK
        return value

    def log(self, value: Any) -> str | None:
        """A value as it is kept in a log: masked JSON of at most `LOGGED` characters (then no longer JSON)."""
        if value is None:
            return None
        text = storable(json.dumps(self.value(value), ensure_ascii=False).replace("\\u0000", "\\ufffd"))
        return text if len(text) <= LOGGED else text[:LOGGED] + "…"


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


def storable(text: str) -> str:
    """A text without what no database takes: zero characters, and halves of characters."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def read_log(text: str | None) -> Any:
    """What `Masker.log` kept, as a value; a text that was cut comes as `{"cut": …}`."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return {"cut": text}
