"""Logos that were uploaded: raster pictures only, because an SVG may carry scripts."""

from __future__ import annotations

import hashlib
import struct
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.preferences.errors import BadLogo, UnknownLogo
from portal.preferences.models import Logo

PATH = "/logo/"
LARGEST = 200_000  # bytes
WIDEST = 4_000  # pixels; a small file can unpack to a picture that stops a phone
_KEPT = 5  # the newest, so that pages which are open still show theirs


def keep_logo(session: Session, data: bytes, now: datetime) -> str:
    """Keep a picture; its path, for the setting `vendor_logo`. Raises `BadLogo`."""
    if not data:
        raise BadLogo("Choose a file first.")
    if len(data) > LARGEST:
        raise BadLogo(f"It has {len(data) // 1000} kB; at most {LARGEST // 1000} kB are possible. Make it smaller.")
    kind, content_type = _kind(data)
    name = f"{hashlib.sha256(data).hexdigest()}.{kind}"
    if session.get(Logo, name) is None:
        session.add(Logo(name=name, content_type=content_type, data=data, made_at=now))
        session.flush()
    old = sa.select(Logo.name).order_by(Logo.made_at.desc(), Logo.name).offset(_KEPT)
    session.execute(sa.delete(Logo).where(Logo.name.in_(session.scalars(old).all()), Logo.name != name))
    return PATH + name


def _kind(data: bytes) -> tuple[str, str]:
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR" and len(data) > 24:
        width, height = struct.unpack(">II", data[16:24])
        if not (0 < width <= WIDEST and 0 < height <= WIDEST):
            raise BadLogo(f"It is {width} by {height} pixels; at most {WIDEST} by {WIDEST} are possible.")
        return "png", "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpg", "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp", "image/webp"
    raise BadLogo("It is no PNG, JPEG or WebP picture. (An SVG can’t be uploaded: it may carry a program.)")


def find_logo(session: Session, name: str) -> Logo:
    """The picture by this name. Raises `UnknownLogo`."""
    found = session.get(Logo, name)
    if found is None:
        raise UnknownLogo
    return found
