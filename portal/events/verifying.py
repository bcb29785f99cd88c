"""How an endpoint verifies what it gets: the snippets of docs/webhooks.md, from there, so that they can't differ."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs/webhooks.md"
LANGUAGES = {"python": "Python", "javascript": "Node"}


@cache
def snippets() -> dict[str, str]:
    """The snippet for each language, by the language's name."""
    text = PAGE.read_text("utf-8")
    found = {name: re.search(rf"```{fence}\n(.*?)```", text, re.DOTALL) for fence, name in LANGUAGES.items()}
    return {name: match[1] for name, match in found.items() if match}
