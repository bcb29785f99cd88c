"""What of an address may be shown to people who needn't know what stands in it for the other side alone."""

from __future__ import annotations

import re

# User and password; the values of a query; what stands in a query without a name.
_SECRET = re.compile(r"(://)[^/\s]+(?=@)|([?&][^=\s&]*=)[^&\s]+|([?&])[^=&\s]+(?=[&\s]|$)")


def without_secrets(text: str) -> str:
    """An address, or a text with addresses in it, with an ellipsis for user, password and the values of a query."""
    return _SECRET.sub(lambda part: f"{part[1] or part[2] or part[3]}…", text)
