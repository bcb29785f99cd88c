"""Data survives each migration."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import command
from sqlalchemy.orm import Session

from portal import create_app
from portal.db import engine
from portal.db.migrating import alembic_config, upgrade
from portal.links.models import Link
from portal.settings import read_settings

AT = "2026-01-01 00:00:00"
FIRST = f"""
INSERT INTO integrations VALUES ('i', 'Orders', 1, '[]', '{AT}', '{AT}');
INSERT INTO users (id, environment, username, created_at) VALUES ('u', 'production', 'ada', '{AT}');
INSERT INTO links
  (id, environment, token_hash, user_id, integration_id, always_show_credentials, created_at, expires_at)
  VALUES ('l', 'production', 'h', 'u', 'i', 1, '{AT}', '{AT}');
INSERT INTO failed_tries (id, link_id, app, reason, message, at) VALUES ('f', 'l', 'magento', 'r', 'm', '{AT}');
INSERT INTO installations (id, environment, user_id, integration_id, link_id, is_enabled, installed_at)
  VALUES ('x', 'production', 'u', 'i', 'l', 1, '{AT}');
INSERT INTO workflows (id, integration_id, name, description, position, version, created_at, updated_at)
  VALUES ('w', 'i', 'Orders', 'd', 0, 1, '{AT}', '{AT}');
INSERT INTO workflow_versions VALUES ('v', 'w', 1, '{{}}', '{AT}');
INSERT INTO child_workflows (id, installation_id, workflow_id, version_id, definition, is_active, created_at)
  VALUES ('c', 'x', 'w', 'v', '{{}}', 1, '{AT}');
INSERT INTO events (id, environment, type, payload, installation_id, created_at)
  VALUES ('e', 'production', 'installation.finished', '{{}}', 'x', '{AT}');
INSERT INTO deliveries (id, event_id, url, state, created_at) VALUES ('d', 'e', 'https://v', 'delivered', '{AT}');
INSERT INTO delivery_attempts (id, delivery_id, number, at, status, latency_ms) VALUES ('a', 'd', 1, '{AT}', 200, 1);
INSERT INTO links
  (id, environment, token_hash, user_id, integration_id, always_show_credentials, created_at, expires_at)
  VALUES ('n', 'production', 'h2', 'u', 'i', 1, '{AT}', '2999-01-02 03:04:05.678000');
"""


def test_what_the_first_version_stored_is_there_after_the_upgrade(tmp_path):
    app = create_app(read_settings(instance=tmp_path))
    with app.app_context():
        command.upgrade(alembic_config(engine()), "0001")
        with engine().begin() as connection:
            for statement in FIRST.split(";\n"):
                if statement.strip():
                    connection.exec_driver_sql(statement)
        upgrade(engine())
        with engine().connect() as connection:

            def rows(query: str) -> list[tuple[object, ...]]:
                return [tuple(row) for row in connection.execute(sa.text(query))]

            assert rows("SELECT origin, integration_id FROM links") == [("link", "i")] * 2
            assert rows("SELECT user_id FROM events") == [("u",)]
            assert rows("SELECT endpoint_id FROM deliveries") == [("documented-production",)]
            assert rows("SELECT environment, type FROM deliveries") == [("production", "installation.finished")]
            assert rows("SELECT id FROM delivery_attempts") == [("a",)]
            assert rows('SELECT environment, "values" FROM child_workflows') == [("production", "{}")]
            assert rows("SELECT * FROM installation_days") == [("production", "2026-01-01", 1)]
            assert rows("SELECT id FROM failed_tries") == [("f",)]
            assert rows("SELECT id FROM links WHERE warn_at IS NOT NULL") == [("n",)]
            with Session(connection) as session:
                warn_at = session.scalar(sa.select(Link.warn_at).where(Link.id == "n"))
                assert warn_at == datetime(2999, 1, 1, 3, 4, 5, 678000, UTC)
            assert rows("PRAGMA foreign_keys") == [(1,)]
            assert rows("PRAGMA foreign_key_check") == []
