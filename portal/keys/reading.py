"""Reading the webhook keys' files without the rest of the key ring, for the light listener."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization


def read_public_key(instance: Path) -> bytes:
    """The public half (PEM) of the webhook key, from the settings or the data folder."""
    given = os.environ.get("PORTAL_WEBHOOK_PRIVATE_KEY")
    text = given or (instance / "keys/webhook.pem").read_text("utf-8")
    key = serialization.load_pem_private_key(text.encode(), password=None)
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def read_secrets(instance: Path) -> list[str]:
    """The Standard Webhooks secrets, from the settings or the data folder."""
    given = os.environ.get("PORTAL_WEBHOOK_SECRETS")
    text = given or (instance / "keys/webhook-secrets.txt").read_text("utf-8")
    return [secret for secret in text.replace(",", "\n").split() if secret]
