"""A backend with its key, as these tests hold it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from portal.api_keys.rules import create_api_key
from portal.clock import now
from portal.db import transaction
from portal.demo.seed import INTEGRATION
from portal.environments import Environment
from portal.integrations.declaration import parse_declaration, read_declaration
from portal.integrations.models import Integration
from portal.integrations.rules import apply_declaration

WITH_FIELDS = """
name: Orders to ledger
apps: [sandbox]
workflows:
  - name: Book orders
    description: Book each order.
    trigger: {poll: order_created}
    steps: [{name: Send the order, request: {post: "https://ledger.example/orders", body: "${ trigger }"}}]
    fields:
      - {name: ledger, title: Ledger, required: true}
      - {name: mode, title: Mode, type: select, options: [daily, hourly]}
  - {name: Count orders, description: Count them., trigger: {schedule: "0 * * * *"}}
"""


@dataclass
class Backend:
    """The vendor's backend: calls the API with its key."""

    app: Flask
    key: str
    environment: Environment

    def call(self, method: str, path: str, *, headers: dict[str, str] | None = None, **more: Any) -> TestResponse:
        sent = {"Authorization": f"Bearer {self.key}", "Accept": "application/json", **(headers or {})}
        return self.app.test_client().open(path, method=method, headers=sent, **more)

    def get(self, path: str, **more: Any) -> Any:
        answer = self.call("GET", path, **more)
        assert answer.status_code == 200, answer.text
        return answer.json

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        answer = self.call("POST", path, json=body, **more)
        assert answer.status_code in (200, 201), answer.text
        return answer.json

    def put(self, path: str, body: Any = None, **more: Any) -> Any:
        answer = self.call("PUT", path, **({"json": body} if body is not None else {}), **more)
        assert answer.status_code == 200, answer.text
        return answer.json

    def delete(self, path: str) -> Any:
        answer = self.call("DELETE", path)
        assert answer.status_code == 200, answer.text
        return answer.json

    def refusal(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, str]:
        answer = self.call(method, path, **({"json": body} if body is not None else {}), **more)
        assert answer.status_code >= 400, answer.text
        assert set(answer.json) == {"message"}
        return answer.status_code, answer.json["message"]


MakeBackend = Callable[..., Backend]


@pytest.fixture
def make_backend(app: Flask) -> MakeBackend:
    """Make a backend of one of the environments."""

    def make(environment: Environment = Environment.production, name: str = "test backend") -> Backend:
        with app.app_context(), transaction(environment) as session:
            _, key = create_api_key(session, name, environment=environment, now=now())
        return Backend(app, key, environment)

    return make


@pytest.fixture
def backend(make_backend: MakeBackend) -> Backend:
    """A backend of the production environment."""
    return make_backend()


@pytest.fixture
def integration(app: Flask) -> str:
    """The id of the demo's integration."""
    with app.app_context(), transaction() as session:
        made, _ = apply_declaration(session, read_declaration(INTEGRATION, app.extensions["catalogue"]), now())
        return made.id


@pytest.fixture
def apply(app: Flask) -> Callable[[str], Integration]:
    """Apply an integration file."""

    def run(text: str) -> Integration:
        with app.app_context(), transaction() as session:
            made, _ = apply_declaration(
                session, parse_declaration(text, app.extensions["catalogue"], source="t"), now()
            )
            assert made.workflows
            return made

    return run


@pytest.fixture
def asking(apply: Callable[[str], Integration]) -> Integration:
    """An integration whose workflow has fields."""
    return apply(WITH_FIELDS)


@pytest.fixture
def user(backend: Backend) -> str:
    """The id of a user."""
    return str(backend.post("/users", {"username": "ada@shop.example", "fullName": "Ada Buyer"})["userId"])


@pytest.fixture
def shop_credential(backend: Backend, user: str, shop: Any) -> Callable[..., str]:
    """Give the user a credential for an app of the sandbox shop."""

    def give(app_name: str = "magento") -> str:
        data = {"store_url": shop.url, "access_token": shop.token}
        made = backend.post("/headless/credentials", {"userId": user, "credential": {"type": app_name, "data": data}})
        return str(made["credentialId"])

    return give


@pytest.fixture
def install(backend: Backend, user: str, shop_credential: Callable[..., str]) -> Callable[..., str]:
    """Install an integration for the user, headless; gives the installation's id."""

    def run(integration_id: str, app_name: str = "magento", data: Any = None) -> str:
        shop_credential(app_name)
        started = backend.post("/headless/startInstallation", {"userId": user, "integrationId": integration_id})
        backend.post(
            "/headless/completeInstallation", {"installationId": started["installationId"], "data": data or []}
        )
        return str(backend.get("/installations")["data"][0]["installationId"])

    return run


def data(app: Flask) -> str:
    """The whole database as text, to look for what must not be in it."""
    with app.app_context(), transaction() as session:
        return "\n".join(session.connection().connection.driver_connection.iterdump())  # type: ignore[union-attr]


def change(app: Flask, statement: Any) -> None:
    """Run a statement, to bring about what takes long or happens elsewhere."""
    with app.app_context(), transaction() as session:
        session.execute(statement)


def link_in(view: Any) -> str:
    """The install link that a page of the dashboard shows."""
    found = re.search(r'id="link" type="text" readonly value="([^"]+)"', view.html)
    assert found, view.text
    return found[1].replace("&amp;", "&")
