"""A form's token as it stands on a page: another text each time, so that nothing can be learned from its length.

Pages are compressed, and repeat what stands in their address. Whoever can make a browser open them and sees how long
the answers are could otherwise guess a token that stays the same, letter by letter (BREACH, breachattack.com).
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode


def mask(token: str) -> str:
    """The token under a fresh random pad, with the pad before it."""
    plain = token.encode()
    pad = secrets.token_bytes(len(plain))
    return urlsafe_b64encode(pad + _xor(pad, plain)).decode()


def is_masked(given: str, token: str) -> bool:
    """Whether `given` is the token under some pad."""
    try:
        both = urlsafe_b64decode(given.encode())
    except ValueError:
        return False
    pad, masked = both[: len(both) // 2], both[len(both) // 2 :]
    return len(pad) == len(masked) and hmac.compare_digest(_xor(pad, masked), token.encode())


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
