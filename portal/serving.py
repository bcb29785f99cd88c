"""What a web server loads: the application, with the background engine when this process is to run it."""

from __future__ import annotations

import os
import sys

import portal.durable  # noqa: F401 - declares the durable work
from portal import create_app
from portal.background import launch
from portal.keys.ring import KeyRing
from portal.settings import MissingSetting, Settings


def _start() -> object:
    app = create_app()
    settings: Settings = app.config["PORTAL_SETTINGS"]
    keys: KeyRing = app.extensions["keys"]
    keys.require_all()
    if os.environ.get("PORTAL_DEMO"):
        from portal.demo.seed import seed

        print(f"Install link: {seed(app)}", flush=True)
    if settings.engine:
        launch(app, settings)
    return app


try:
    app = _start()
except MissingSetting as missing:
    sys.exit(str(missing))
