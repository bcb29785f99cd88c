"""What the web server loads: the application, with the background engine when this process is to run it."""

from __future__ import annotations

import gc
import os
import sys
from multiprocessing.util import Finalize

from flask import Flask

import portal.durable  # noqa: F401 - declares the durable work
from portal import create_app
from portal.background import launch, stop
from portal.catalogue import CatalogueDefects
from portal.settings import MissingSetting, Settings


def _start() -> Flask:
    app = create_app()
    settings: Settings = app.config["PORTAL_SETTINGS"]
    app.extensions["keys"].require_all()
    if os.environ.get("PORTAL_DEMO"):
        from portal.demo.seed import announce, seed

        announce(*seed(app))
    if settings.engine:
        launch(app, settings)
        # Before the interpreter takes the threads away that the engine still uses.
        Finalize(None, stop, exitpriority=100)
    # What is loaded now stays: the collector need not look at it again, and looks less often at the rest.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    return app


try:
    app = _start()
except (MissingSetting, CatalogueDefects) as reason:
    sys.exit(str(reason))
