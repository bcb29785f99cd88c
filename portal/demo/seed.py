"""What the demo starts with: keys, tables, a user, an integration, a link that can still be used."""

from __future__ import annotations

import os
import socket
import threading
import time
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa
from flask import Flask

from portal.background import migrate
from portal.clock import now
from portal.db import engine, transaction
from portal.db.migrating import is_migrated, upgrade
from portal.environments import Environment
from portal.integrations.declaration import read_declaration
from portal.integrations.rules import apply_declaration
from portal.links.rules import create_link, link_url
from portal.operators.models import Role
from portal.operators.rules import invite, sign_in_url
from portal.settings import Settings
from portal.users.models import User
from portal.users.rules import create_user

USERNAME = "veronica@luma.example"
OPERATOR = "operator@demo.example"
INTEGRATION = Path(__file__).parent / "integration.yaml"


def seed(app: Flask) -> tuple[str, str]:
    """Bring tables and demo data up to date; a new install link and a new sign-in link for the dashboard.

    Safe to repeat; nothing is lost.
    """
    settings: Settings = app.config["PORTAL_SETTINGS"]
    with app.app_context():
        if not is_migrated(engine()):
            upgrade(engine())
        migrate(engine())
        declaration = read_declaration(INTEGRATION, app.extensions["catalogue"])
        with transaction(Environment.production) as session:
            user = session.scalar(sa.select(User).where(User.username == USERNAME))
            if user is None:
                user = create_user(session, USERNAME, now=now(), full_name="Veronica Costello")
            integration, _ = apply_declaration(session, declaration, now())
            link, token = create_link(
                session,
                app.extensions["keys"].link_keys,
                user=user,
                integration=integration,
                now=now(),
                life=timedelta(days=7),
            )
            _, invitation = invite(session, OPERATOR, Role.admin, now())
            return link_url(settings.base_url, link, token), sign_in_url(settings.base_url, invitation)


def announce(link: str, dashboard: str) -> None:
    """Print both as soon as this process's server answers on its port."""

    def wait_and_print() -> None:
        address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000")))
        while True:
            try:
                socket.create_connection(address, timeout=1).close()
                break
            except OSError:
                time.sleep(0.02)
        print(f"Install link: {link}\nDashboard: {dashboard}", flush=True)

    threading.Thread(target=wait_and_print, daemon=True).start()
