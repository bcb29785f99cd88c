"""What logs may show: secrets and declared personal fields are masked, and long values are cut."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

MASK = "•••"
LOGGED = 8_000  # characters of an input or an output that are kept
SHORTEST_SECRET = 4  # what is shorter stands in too many innocent texts
_SECRET_KEYS = frozenset({"authorization", "cookie", "set-cookie", "x-api-key", "password", "secret", "token"})


class Masker:
    """Masks for one run: the values of its credentials, and the personal fields that its apps declare."""

    def __init__(self, *, personal: Collection[str], secrets: Collection[str]) -> None:
        self._keys = frozenset(key.lower() for key in personal) | _SECRET_KEYS
        self._secrets = sorted({s for s in secrets if len(s) >= SHORTEST_SECRET}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """A text without the secrets."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

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
        return value

    def log(self, value: Any) -> str | None:
        """A value as it is kept in a log: masked JSON of at most `LOGGED` characters (then no longer JSON)."""
        if value is None:
            return None
        text = storable(json.dumps(self.value(value), ensure_ascii=False).replace("\\u0000", "\\ufffd"))
        return text if len(text) <= LOGGED else text[:LOGGED] + "…"


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
