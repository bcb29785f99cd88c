"""The headers that let an endpoint tell our deliveries from anybody else's, and the check of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError

if TYPE_CHECKING:
    from portal.keys.ring import KeyRing


def sign(keys: KeyRing, *, url: str, body: str, event_id: str, at: datetime, method: str = "POST") -> dict[str, str]:
    """The headers of one attempt to deliver `body` to `url` at the moment `at`.

    `X-Alloy-Signature` covers the method + the full URL + the body; the `webhook-…` headers are those of Standard
    Webhooks (https://www.standardwebhooks.com), one signature for each secret in force.
    """
    data = body.encode()
    return {
        "Content-Type": "application/json",
        "X-Alloy-Signature": keys.sign_rsa(method.encode() + url.encode() + data),
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signer.sign(event_id, at, body) for signer in keys.webhooks()),
    }


def alloy_signature_holds(public_key: bytes, signature: str, *, url: str, body: bytes) -> bool:
    """Whether `X-Alloy-Signature` (hex) was made over this URL and body with the key of this PEM."""
    key = serialization.load_pem_public_key(public_key)
    assert isinstance(key, rsa.RSAPublicKey)
    try:
        key.verify(bytes.fromhex(signature), b"POST" + url.encode() + body, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def standard_signature_holds(secrets: Sequence[str], headers: Mapping[str, str], body: bytes) -> bool:
    """Whether the Standard Webhooks headers hold for one of `secrets`, and are at most five minutes old."""
    for secret in secrets:
        try:
            Webhook(secret).verify(body, dict(headers), json_parse=False)
        except (WebhookVerificationError, EmptyWebhookSecretError, ValueError):
            continue
        return True
    return False
