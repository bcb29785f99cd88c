"""Where the pieces are put together: what each needs is made here once, and nowhere else."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from apiflask import APIFlask
from flask import Flask

from portal import assets, commands, logs, operations, web
from portal.api import init_api
from portal.catalogue import load_catalogue
from portal.dashboard.pages import dashboard
from portal.dashboard.passkeys import ChallengeLimits
from portal.db import Database
from portal.hooks.pages import hooks
from portal.http import Outbound, PrivateNetwork
from portal.install import logo, modal  # noqa: F401 - add their pages to the blueprint
from portal.install.first_view import FirstViews
from portal.install.pages import install
from portal.install.preview import render_preview, render_with_settings
from portal.keys.ring import KeyRing
from portal.operators.oidc import Provider
from portal.preferences.current import Current
from portal.runs.executing import Executor
from portal.security.pages import security
from portal.settings import Settings
from portal.web.headers import SecureHeaders
from portal.web.limits import Limiter

TEMPLATES = Path(__file__).parent.parent / "templates"


def wire(settings: Settings) -> Flask:
    """The application as these settings say. Raises `MissingSetting` when it can't be set up so."""
    logs.configure(settings)
    app = APIFlask(
        "portal",
        title="Install portal",
        version="1",
        spec_path=None,
        docs_path=None,
        json_errors=False,
        template_folder=str(TEMPLATES),
        static_folder=None,  # type: ignore[arg-type]  # WhiteNoise serves the static files
        instance_path=str(settings.instance),
    )
    app.config["PORTAL_SETTINGS"] = settings
    _know(app, settings)
    _reach_out(app, settings)
    _store(app, settings)
    _show_faces(app, settings)
    _stand_in_front(app, settings)
    return app


def _know(app: Flask, settings: Settings) -> None:
    """Keys, apps, and how much may be asked for."""
    keys = app.extensions["keys"] = KeyRing(settings)
    if not settings.is_production:
        keys.create_missing()
    app.extensions["catalogue"] = load_catalogue(settings.catalogue)
    app.extensions["limiter"] = Limiter(settings.api_rate)
    app.extensions["challenge_limits"] = ChallengeLimits()


def _reach_out(app: Flask, settings: Settings) -> None:
    """Calls to other servers, and what makes them."""
    outbound = partial(
        Outbound,
        private=PrivateNetwork.parse(settings.allow_private_network),
        ca_bundle=str(settings.ca_bundle) if settings.ca_bundle else None,
    )
    people = app.extensions["outbound"] = outbound(per_host=settings.per_host, in_all=settings.in_all)
    # With places of its own: what polls and runs keep busy must not turn people away.
    background = outbound(per_host=max(settings.per_host, 16), in_all=max(settings.in_all // 2, 16))
    app.extensions["background_outbound"] = background
    app.extensions["executor"] = Executor(background, app.extensions["keys"])
    app.extensions["oidc"] = Provider(settings, people) if settings.oidc_issuer else None


def _store(app: Flask, settings: Settings) -> None:
    """The database, and the settings that are changed in it."""
    database = Database(settings, keys=app.extensions["keys"], catalogue=app.extensions["catalogue"])
    app.extensions["database"] = database
    current = app.extensions["settings"] = Current(database.engine, settings)
    database.settings = current.settings


def _show_faces(app: Flask, settings: Settings) -> None:
    """Pages, commands, and what all of them share."""
    # Shown by the dashboard, which knows no other face.
    app.extensions["install_preview"] = render_preview
    app.extensions["settings_preview"] = render_with_settings
    commands.init_commands(app)
    web.init_web(app, app.extensions["settings"].settings)
    operations.init_operations(app, settings)
    for face in (install, security, dashboard, hooks):
        app.register_blueprint(face)


def _stand_in_front(app: APIFlask, settings: Settings) -> None:
    """From the inside out: addresses as clients write them, ready pages, headers for all answers, static files."""
    init_api(app, settings)
    app.wsgi_app = FirstViews(app)  # type: ignore[method-assign]
    current = app.extensions["settings"]
    app.wsgi_app = SecureHeaders(app.wsgi_app, settings.base_url, current.settings)  # type: ignore[method-assign]
    assets.init_assets(app, settings)
