"""Operators at the dashboard, over Flask's test client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.clock import now
from portal.db import transaction
from portal.operators.models import Role
from portal.operators.rules import invite
from tests.backend import *  # noqa: F403 - fixtures
from tests.install_page import View, assert_page_holds_its_promises


@dataclass
class Desk:
    """One operator's browser."""

    client: FlaskClient
    email: str
    role: Role
    csrf: str = ""

    def get(self, path: str, *, status: int = 200) -> View:
        view = View(self.client.get(path))
        assert view.status == status, view.text
        assert_page_holds_its_promises(view)
        assert "frame-ancestors 'none'" in view.response.headers["Content-Security-Policy"]
        assert view.response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        self._keep_token(view)
        return view

    def post(self, path: str, *, follow: bool = True, **facts: Any) -> View:
        answer = self.client.post(path, data={"csrf": self.csrf, **facts}, follow_redirects=follow)
        view = View(answer)
        if follow:
            assert_page_holds_its_promises(view)
            self._keep_token(view)
        return view

    def _keep_token(self, view: View) -> None:
        """Forms carry the token of the page that was shown last: it goes with the environment."""
        self.csrf = view.inputs.get("csrf", {}).get("value", self.csrf)


SignIn = Callable[..., Desk]


@pytest.fixture
def sign_in(app: Flask) -> SignIn:
    """Sign an operator in, the way that people do."""

    def run(role: Role = Role.admin, email: str = "") -> Desk:
        email = email or f"{role}@vendor.example"
        with app.app_context(), transaction() as session:
            _, token = invite(session, email, role, now())
        desk = Desk(app.test_client(), email, role)
        assert "Continue" in desk.get(f"/dashboard/sign-in?token={token}").text
        answer = desk.client.post("/dashboard/sign-in", data={"token": token})
        assert answer.location == "/dashboard", answer.text
        desk.get("/dashboard/sessions")  # the lightest page with a form
        return desk

    return run


@pytest.fixture
def desk(sign_in: SignIn) -> Desk:
    """An administrator's browser."""
    return sign_in()
