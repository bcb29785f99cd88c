"""The install portal: `create_app` makes the application; each of its pieces is a folder below."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from portal.settings import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """The portal as a WSGI application. Raises `MissingSetting` when it can't be set up as the settings say."""
    # Imported here, so that the sandbox shop and the webhook listener, which live below, stay light.
    from portal.settings import read_settings
    from portal.wiring import wire

    return wire(settings or read_settings())
