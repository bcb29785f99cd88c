"""The management API: what a vendor's backend calls with its key, and its pages with a user token.

A request passes `hooks` (who calls, how much, whether it came before), then the view of its resource.
"""

from __future__ import annotations

from apiflask import APIFlask

from portal.settings import Settings


def init_api(app: APIFlask, settings: Settings) -> None:
    """Add the API to the application. Call it when every other page is there: it goes around them."""
    from portal.api.apps import apps, icons
    from portal.api.credentials import credentials
    from portal.api.events import events
    from portal.api.installations import installations
    from portal.api.links import links
    from portal.api.paths import Paths
    from portal.api.reference import describe_api, reference
    from portal.api.runs import runs
    from portal.api.shapes import Problem
    from portal.api.users import users
    from portal.api.workflows import workflows

    app.config.update(
        OPENAPI_VERSION="3.1.0",
        INFO={"description": "Make install links, and manage what came of them."},
        SERVERS=[{"url": settings.base_url}],
        SPEC_FORMAT="json",
        VALIDATION_ERROR_STATUS_CODE=400,
        VALIDATION_ERROR_SCHEMA=Problem.model_json_schema(),
        HTTP_ERROR_SCHEMA=Problem.model_json_schema(),
        AUTO_OPERATION_ID=True,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    for resource in (users, links, workflows, installations, credentials, apps, runs, events):
        app.register_blueprint(resource)
    app.register_blueprint(icons)
    app.register_blueprint(reference)
    describe_api(app)
    app.wsgi_app = Paths(app)  # type: ignore[method-assign]
