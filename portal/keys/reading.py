"""Reading the webhook keys' files without the rest of the key ring, for the light listener."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cryptography.hazmat.primitives import serialization

_PEM = re.compile("-----BEGIN [A-Z ]+-----.+?-----END [A-Z ]+-----", re.DOTALL)


def split_keys(text: str) -> list[str]:
    """The keys (PEM) of a text that holds one after another: the first one signs, a second one is announced."""
    return [f"{match[0]}\n" for match in _PEM.finditer(text)]


def read_public_key(instance: Path) -> bytes:
    """The public half (PEM) of the webhook key that signs, from the settings or the data folder."""
    given = os.environ.get("PORTAL_WEBHOOK_PRIVATE_KEY")
    text = given or (instance / "keys/webhook.pem").read_text("utf-8")
    key = serialization.load_pem_private_key(split_keys(text)[0].encode(), password=None)
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def read_secrets(instance: Path) -> list[str]:
    """The Standard Webhooks secrets, from the settings or the data folder."""
    given = os.environ.get("PORTAL_WEBHOOK_SECRETS")
    text = given or (instance / "keys/webhook-secrets.txt").read_text("utf-8")
    return [secret for secret in text.replace(",", "\n").split() if secret]
