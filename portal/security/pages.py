"""What a vendor's backend needs to check our signatures: the public key."""

from __future__ import annotations

from flask import Blueprint, Response, current_app

from portal.keys.ring import KeyRing

security = Blueprint("security", __name__)


@security.get("/security/public_key.pem")
def public_key() -> Response:
    """The RSA public key that `X-Alloy-Signature` is checked with, as PEM."""
    return _pem(_ring().public_key_pem)


@security.get("/security/public_keys.pem")
def public_keys() -> Response:
    """Every RSA public key in force: the one that signs now and, while keys change, the one that will sign next."""
    return _pem(_ring().public_keys_pem)


def _ring() -> KeyRing:
    ring: KeyRing = current_app.extensions["keys"]
    return ring


def _pem(data: bytes) -> Response:
    response = Response(data, content_type="application/x-pem-file")
    response.headers["Cache-Control"] = "public, max-age=300"
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response
