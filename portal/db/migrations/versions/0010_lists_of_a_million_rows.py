"""Indexes for each order and filter of the dashboard's lists"""

import sqlalchemy as sa
from alembic import op

revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None

GOES_ON = 'finished_at IS NULL AND revoked_at IS NULL'
STATES = {
    'created': (f'{GOES_ON} AND verified_at IS NULL AND opened_at IS NULL', 'expires_at'),
    'opened': (f'{GOES_ON} AND verified_at IS NULL AND opened_at IS NOT NULL', 'expires_at'),
    'verified': (f'{GOES_ON} AND verified_at IS NOT NULL', 'expires_at'),
    'finished': ('finished_at IS NOT NULL', 'created_at'),
    'revoked': ('finished_at IS NULL AND revoked_at IS NOT NULL', 'created_at'),
    'expired': ('coalesce(finished_at, revoked_at) IS NULL', 'expires_at'),
}


def index(name: str, table: str, columns: list[str], condition: str | None = None) -> None:
    where = sa.text(condition) if condition else None
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def upgrade() -> None:
    op.drop_index('ix_links_environment_created_at_id', 'links')
    op.drop_index('ix_links_integration_id', 'links')
    whole, parts = ['environment', 'origin'], ['environment', 'origin', 'integration_id']
    for moment, name in (('created_at', 'made'), ('expires_at', 'until')):
        index(f'ix_links_{name}', 'links', [*whole, moment, 'id'])
        index(f'ix_links_{name}_of_integration', 'links', [*parts, moment, 'id'])
    index('ix_links_requested', 'links', ['environment', 'requested_at'], 'requested_at IS NOT NULL')
    for state, (condition, moment) in STATES.items():
        counted = ['finished_at', 'revoked_at'] if state == 'expired' else []
        index(f'ix_links_{state}', 'links', [*whole, moment, 'id', *counted], condition)
        index(f'ix_links_{state}_of_integration', 'links', [*parts, moment, 'id'], condition)

    op.drop_index('ix_installations_integration_id', 'installations')
    standing: list[tuple[str, list[str]]] = [
        ('standing', []),
        ('state', ['is_enabled']),
        ('integration', ['integration_id']),
        ('integration_state', ['integration_id', 'is_enabled']),
    ]
    for name, more in standing:
        columns = ['environment', *more, 'installed_at', 'id', 'removed_at']
        index(f'ix_installations_{name}', 'installations', columns, 'removed_at IS NULL')

    columns = ['environment', 'version_id', 'id', 'removed_at']
    index('ix_child_workflows_version', 'child_workflows', columns, 'removed_at IS NULL')
    if op.get_bind().dialect.name == 'postgresql':
        # Names are searched by their beginning: in the order of their characters, whatever the database's language.
        op.execute('ALTER TABLE users ALTER COLUMN username TYPE VARCHAR(255) COLLATE "C"')
