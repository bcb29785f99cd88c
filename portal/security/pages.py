"""What a vendor's backend needs to check our signatures: the public key."""

from __future__ import annotations

from flask import Blueprint, Response, current_app

from portal.keys.ring import KeyRing

security = Blueprint("security", __name__)


@security.get("/security/public_key.pem")
def public_key() -> Response:
    """The RSA public key that `X-Alloy-Signature` is checked with, as PEM."""
    keys: KeyRing = current_app.extensions["keys"]
    response = Response(keys.public_key_pem, content_type="application/x-pem-file")
    response.headers["Cache-Control"] = "public, max-age=300"
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response
