"""Filling a portal's SQLite database with rows by the million: users, links, installations, events, the audit log."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

# Row i of n was made (n - i) half minutes ago, so that the newest thousand is the same in a small and a large table.
_ROWS = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)"
_ID = "printf('%s%023x', :kind, i)"


def _at(shift: str = "0") -> str:
    return f"strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || (30 * (:count - i)) || ' seconds', {shift}) || '000'"


_NOW = _at("'+0 seconds'")
_LATER = _at("'+1 hour'")
_WEEK = _at("'+7 days'")
# Of twenty links eleven were used, four ran out, one was taken back; those of the last week may still go on.
_STATEMENTS = {
    "a": f"""INSERT INTO users (id, environment, username, full_name, created_at)
        SELECT {_ID}, 'production', printf('user%07d@bench.example', (i * 7919) % 1000003), 'User ' || i, {_NOW}
        FROM n""",
    "b": f"""INSERT INTO links (id, environment, token_hash, user_id, integration_id, origin, always_show_credentials,
            created_at, expires_at, opened_at, verified_at, finished_at, revoked_at)
        SELECT {_ID}, 'production', {_ID}, printf('a%023x', i), :integration, 'link', 1, {_NOW}, {_WEEK},
            CASE WHEN i % 20 < 14 THEN {_LATER} END, CASE WHEN i % 20 < 12 THEN {_LATER} END,
            CASE WHEN i % 20 < 11 THEN {_LATER} END, CASE WHEN i % 20 = 19 THEN {_LATER} END FROM n""",
    "c": f"""INSERT INTO installations (id, environment, user_id, integration_id, is_enabled, installed_at, removed_at)
        SELECT {_ID}, 'production', printf('a%023x', i), :integration, i % 20 > 0, {_NOW},
            CASE WHEN i % 20 = 7 THEN {_LATER} END FROM n""",
    "d": f"""INSERT INTO credentials (id, environment, user_id, app, account, sealed, created_at, updated_at, tested_at)
        SELECT {_ID}, 'production', printf('a%023x', i), 'magento', 'Store ' || i, x'00', {_NOW}, {_NOW}, {_NOW}
        FROM n""",
    "": """INSERT INTO installation_credentials (installation_id, app, credential_id)
        SELECT printf('c%023x', i), 'magento', printf('d%023x', i) FROM n""",
    "e": f"""INSERT INTO child_workflows
            (id, environment, installation_id, workflow_id, version_id, definition, "values", is_active, created_at)
        SELECT {_ID}, 'production', printf('c%023x', i), :workflow, :version, '{{}}', '{{}}', 1, {_NOW} FROM n""",
    "f": f"""INSERT INTO events (id, environment, type, payload, installation_id, created_at)
        SELECT {_ID}, 'production', 'installation.finished', '{{}}', printf('c%023x', i), {_NOW} FROM n""",
    "0": f"""INSERT INTO deliveries (id, event_id, url, state, created_at)
        SELECT {_ID}, printf('f%023x', i), 'https://vendor.example/webhook',
            CASE i % 20 WHEN 0 THEN 'given_up' ELSE 'delivered' END, {_NOW} FROM n""",
    "1": f"""INSERT INTO delivery_attempts (id, delivery_id, number, at, status, latency_ms)
        SELECT {_ID}, printf('0%023x', i), 1, {_NOW}, 204, 12 FROM n""",
    "2": f"""INSERT INTO audit_entries (id, at, actor, environment, action, subject, details)
        SELECT {_ID}, {_NOW}, 'operator' || (i % 10) || '@bench.example', 'production', 'link.create',
            'Link ' || i, '{{}}'
        FROM n""",
}


def fill(instance: Path, count: int) -> None:
    """Add `count` rows of each kind, of the first integration that is there, to a portal that hasn't been filled."""
    engine = sa.create_engine(f"sqlite:///{instance / 'portal.sqlite3'}")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA cache_size=-400000")
        known = connection.execute(
            sa.text(
                """SELECT integrations.id AS integration, workflows.id AS workflow, workflow_versions.id AS version
                FROM integrations JOIN workflows ON integration_id = integrations.id
                JOIN workflow_versions ON workflow_id = workflows.id LIMIT 1"""
            )
        ).one()
        for kind, statement in _STATEMENTS.items():
            connection.execute(sa.text(f"{_ROWS} {statement}"), {"count": count, "kind": kind, **known._mapping})
            connection.commit()
    engine.dispose()
