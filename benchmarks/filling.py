"""Filling a portal's SQLite database with rows by the million, all of them in production, for every list there is.

One user, the first, has a fourth of the links and half of the runs. Endpoints and integrations stay few: a vendor has
as many as somebody wrote down.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

# Row i of n was made (n - i) half minutes ago, so that the newest thousand is the same in a small and a large table.
_ROWS = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)"
_ID = "printf('%s%023x', :kind, i)"
# What addresses name, of the first row of each kind.
NAMES = {
    name: f"{kind}{0:023x}"
    for name, kind in {
        "user": "a",
        "link": "b",
        "installation": "c",
        "child": "e",
        "event": "f",
        "run": "3",
        "task": "5",
    }.items()
}
NAMES |= {"endpoint_id": "documented-production", "first": "user0000000@bench.example"}


def _at(shift: str = "0") -> str:
    return f"strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || (30 * (:count - i)) || ' seconds', {shift}) || '000'"


_NOW = _at("'+0 seconds'")
_LATER = _at("'+1 hour'")
_WEEK = _at("'+7 days'")
_SEEN = _at("CASE WHEN i + 1000 < :count THEN '-15 days' ELSE '+0 days' END")  # most sign-ins have run out
_USER = "printf('a%023x', {} * i)"
_KIND = "CASE i % 7 WHEN 3 THEN 'link.opened' ELSE 'installation.finished' END"
_DAY = f"date({_NOW})"
# Of twenty links eleven were used, four ran out, one was taken back; those of the last week may still go on. Of one in
# twenty somebody asked for a new one, on two in twenty somebody failed.
_STATEMENTS = {
    "a": f"""INSERT INTO users (id, environment, username, full_name, created_at)
        SELECT {_ID}, 'production', printf('user%07d@bench.example', (i * 7919) % 1000003), 'User ' || i, {_NOW}
        FROM n""",
    "b": f"""INSERT INTO links (id, environment, token_hash, user_id, integration_id, origin, always_show_credentials,
            created_at, expires_at, opened_at, verified_at, finished_at, revoked_at, requested_at)
        SELECT {_ID}, 'production', {_ID}, {_USER.format("(i % 4 > 0)")}, :integration, 'link', 1, {_NOW}, {_WEEK},
            CASE WHEN i % 20 < 14 THEN {_LATER} END, CASE WHEN i % 20 < 12 THEN {_LATER} END,
            CASE WHEN i % 20 < 11 THEN {_LATER} END, CASE WHEN i % 20 = 19 THEN {_LATER} END,
            CASE WHEN i % 20 = 18 THEN {_LATER} END FROM n""",
    "6": f"""INSERT INTO failed_tries (id, link_id, app, field, reason, message, at)
        SELECT {_ID}, printf('b%023x', i), 'magento', 'access_token', 'refused', 'The store did not accept it.', {_NOW}
        FROM n WHERE i % 20 IN (12, 13)""",
    "c": f"""INSERT INTO installations (id, environment, user_id, integration_id, is_enabled, installed_at, removed_at)
        SELECT {_ID}, 'production', printf('a%023x', i), :integration, i % 20 > 0, {_NOW},
            CASE WHEN i % 20 = 7 THEN {_LATER} END FROM n""",
    "days": f"""INSERT INTO installation_days (environment, day, finished)
        SELECT 'production', {_DAY}, count(*) FROM n GROUP BY 2""",
    "d": f"""INSERT INTO credentials (id, environment, user_id, app, account, sealed, created_at, updated_at, tested_at,
            broken_at)
        SELECT {_ID}, 'production', printf('a%023x', i), 'magento', 'Store ' || i, x'00', {_NOW}, {_NOW}, {_NOW},
            CASE WHEN i % 20 = 3 THEN {_LATER} END FROM n""",
    "": """INSERT INTO installation_credentials (installation_id, app, credential_id)
        SELECT printf('c%023x', i), 'magento', printf('d%023x', i) FROM n""",
    "e": f"""INSERT INTO child_workflows
            (id, environment, installation_id, user_id, workflow_id, version_id, definition, "values", is_active,
            runs_made, created_at)
        SELECT {_ID}, 'production', printf('c%023x', i), printf('a%023x', i), :workflow, :version, :definition, '{{}}',
            1, 1, {_NOW} FROM n""",
    "f": f"""INSERT INTO events (id, environment, type, payload, installation_id, created_at)
        SELECT {_ID}, 'production', {_KIND}, '{{}}', printf('c%023x', i), {_NOW} FROM n""",
    "0": f"""INSERT INTO deliveries (id, environment, event_id, endpoint_id, type, url, state, created_at)
        SELECT {_ID}, 'production', printf('f%023x', i), 'documented-production', {_KIND},
            'https://vendor.example/webhook', CASE i % 20 WHEN 0 THEN 'given_up' ELSE 'delivered' END, {_NOW} FROM n""",
    "1": f"""INSERT INTO delivery_attempts (id, delivery_id, number, at, status, latency_ms)
        SELECT {_ID}, printf('0%023x', i), 1, {_NOW}, 204, 12 FROM n""",
    "2": f"""INSERT INTO audit_entries (id, at, actor, environment, action, subject, details)
        SELECT {_ID}, {_NOW}, 'operator' || (i % 10) || '@bench.example', 'production', 'link.create',
            'Link ' || i, '{{}}'
        FROM n""",
    "3": f"""INSERT INTO runs (id, environment, child_id, workflow_id, user_id, version, number, trigger, state, leg,
            is_parked, progress, actions, attempts, error, created_at, started_at, ended_at)
        SELECT {_ID}, 'production', printf('e%023x', (i % 2) * i), :workflow, {_USER.format("(i % 2)")}, 1, i, 'poll',
            CASE i % 20 WHEN 0 THEN 'failed' ELSE 'succeeded' END, 1, 0, 3, 3, 1,
            CASE i % 20 WHEN 0 THEN 'vendor.example answered 500.' END, {_NOW}, {_NOW}, {_NOW} FROM n""",
    "4": f"""INSERT INTO api_keys (id, environment, name, prefix, key_hash, created_at, revoked_at)
        SELECT {_ID}, 'production', printf('backend %07d', (i * 7919) % 1000003), 'portal_live_' || i, {_ID}, {_NOW},
            CASE WHEN i % 20 THEN {_LATER} END FROM n""",
    "5": f"""INSERT INTO tasks (id, environment, kind, title, asked_by, params, "cursor", done, state, created_at,
            ended_at)
        SELECT {_ID}, 'production', 'users.export', 'All data of user ' || i, :asked_by, '{{}}', '{{}}', 1, 'done',
            {_NOW}, {_NOW} FROM n""",
    "7": f"""INSERT INTO operator_sessions (id, operator_id, token_hash, csrf, environment, browser, created_at,
            seen_at, proved_at, ended_at)
        SELECT {_ID}, operators.id, {_ID}, '', 'production', 'browser ' || i, {_SEEN}, {_SEEN}, {_SEEN},
            CASE WHEN i % 20 THEN {_LATER} END FROM n JOIN operators ON email = :asked_by""",
}


def fill(instance: Path, count: int, asked_by: str = "") -> None:
    """Add `count` rows of each kind, of the first integration that is there, to a portal that hasn't been filled.

    `asked_by` is the operator whose long work and sign-ins there are. Nobody else may have the database open: nothing
    is kept that would bring it back after a crash.
    """
    engine = sa.create_engine(f"sqlite:///{instance / 'portal.sqlite3'}")
    with engine.connect() as connection:
        for pragma in ("cache_size=-400000", "journal_mode=OFF", "synchronous=OFF"):
            connection.exec_driver_sql(f"PRAGMA {pragma}")
        known = connection.execute(
            sa.text(
                """SELECT integrations.id AS integration, workflows.id AS workflow, workflow_versions.id AS version,
                    workflow_versions.definition AS definition
                FROM integrations JOIN workflows ON integration_id = integrations.id
                JOIN workflow_versions ON workflow_id = workflows.id LIMIT 1"""
            )
        ).one()
        for kind, statement in _STATEMENTS.items():
            facts = {"count": count, "kind": kind, "asked_by": asked_by, **known._mapping}
            connection.execute(sa.text(f"{_ROWS} {statement}"), facts)
            connection.commit()
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    engine.dispose()
