"""The install portal: `create_app` wires the pieces together; each piece is a folder below."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from portal.settings import Settings

HERE = Path(__file__).parent.parent


def create_app(settings: Settings | None = None) -> Flask:
    """The portal as a WSGI application. Raises `MissingSetting` when it can't be set up as the settings say."""
    # Imported here, so that the sandbox shop and the webhook listener, which live below, stay light.
    from apiflask import APIFlask

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
    from portal.settings import read_settings
    from portal.web.headers import SecureHeaders
    from portal.web.limits import Limiter

    settings = settings or read_settings()
    logs.configure(settings)
    app = APIFlask(
        "portal",
        title="Install portal",
        version="1",
        spec_path=None,
        docs_path=None,
        json_errors=False,
        template_folder=str(HERE / "templates"),
        static_folder=None,  # type: ignore[arg-type]  # WhiteNoise serves the static files
        instance_path=str(settings.instance),
    )
    app.config["PORTAL_SETTINGS"] = settings
    keys = KeyRing(settings)
    if not settings.is_production:
        keys.create_missing()
    app.extensions["keys"] = keys
    app.extensions["catalogue"] = load_catalogue(settings.catalogue)
    outbound = partial(
        Outbound,
        private=PrivateNetwork.parse(settings.allow_private_network),
        ca_bundle=str(settings.ca_bundle) if settings.ca_bundle else None,
    )
    app.extensions["outbound"] = outbound(per_host=settings.per_host, in_all=settings.in_all)
    # With places of its own: what polls and runs keep busy must not turn people away.
    background = outbound(per_host=max(settings.per_host, 16), in_all=max(settings.in_all // 2, 16))
    app.extensions["background_outbound"] = background
    app.extensions["executor"] = Executor(background, keys)
    app.extensions["oidc"] = Provider(settings, app.extensions["outbound"]) if settings.oidc_issuer else None
    database = Database(settings, keys=keys, catalogue=app.extensions["catalogue"])
    app.extensions["database"] = database
    current = app.extensions["settings"] = Current(database.engine, settings)
    database.settings = current.settings
    app.extensions["limiter"] = Limiter(settings.api_rate)
    app.extensions["challenge_limits"] = ChallengeLimits()
    # Shown by the dashboard, which knows no other face.
    app.extensions["install_preview"] = render_preview
    app.extensions["settings_preview"] = render_with_settings
    commands.init_commands(app)
    web.init_web(app, current.settings)
    operations.init_operations(app, settings)
    app.register_blueprint(install)
    app.register_blueprint(security)
    app.register_blueprint(dashboard)
    app.register_blueprint(hooks)
    # From the inside out: addresses as clients write them, ready pages, headers for all that we answer, static files.
    init_api(app, settings)
    app.wsgi_app = FirstViews(app)  # type: ignore[method-assign]
    app.wsgi_app = SecureHeaders(app.wsgi_app, settings.base_url, current.settings)  # type: ignore[method-assign]
    assets.init_assets(app, settings)
    return app
