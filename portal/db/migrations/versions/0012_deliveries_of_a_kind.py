"""Deliveries know their environment and kind, so that an index leads to those of any filter; orders of more lists"""

import sqlalchemy as sa
from alembic import op

revision = '0012'
down_revision = '0011'
branch_labels = None
depends_on = None


def index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def partial(name: str, condition: str, table: str, *columns: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, list(columns), sqlite_where=where, postgresql_where=where)


def upgrade() -> None:
    # What every row must have is filled in before it is asked for.
    environment = sa.Enum('development', 'production', name='environment')
    op.drop_index('ix_deliveries_state_created_at_id', 'deliveries')
    op.add_column('deliveries', sa.Column('environment', environment, nullable=True))
    op.add_column('deliveries', sa.Column('type', sa.String(length=64), nullable=True))
    op.execute("""
        UPDATE deliveries SET
            environment = (SELECT environment FROM events WHERE events.id = event_id),
            type = (SELECT type FROM events WHERE events.id = event_id)
    """)
    with op.batch_alter_table('deliveries', schema=None) as batch_op:
        batch_op.alter_column('environment', existing_type=environment, nullable=False)
        batch_op.alter_column('type', existing_type=sa.String(length=64), nullable=False)
    for question in (
        ['environment', 'state'],
        ['environment', 'state', 'type'],
        ['endpoint_id', 'type'],
        ['endpoint_id', 'state', 'type'],
    ):
        index('deliveries', *question, 'created_at', 'id')

    index('audit_entries', 'actor', 'action', 'at', 'id')

    # What is one user's, also where one user has most of it.
    op.drop_index('ix_links_user_id', 'links')
    op.create_index('ix_links_made_for_user', 'links', ['user_id', 'origin', 'created_at', 'id'])
    op.drop_index('ix_installations_user_id', 'installations')
    op.create_index('ix_installations_of_user', 'installations', ['user_id', 'removed_at', 'installed_at', 'id'])
    for question in (['state'], ['workflow_id'], ['workflow_id', 'state']):
        index('runs', 'user_id', *question, 'created_at', 'id')

    op.drop_index('ix_tasks_environment_asked_by_created_at', 'tasks')
    index('tasks', 'environment', 'asked_by', 'created_at', 'id')
    op.drop_index('ix_endpoints_environment_created_at', 'endpoints')
    for table in ('endpoints', 'api_keys'):
        for order in ('created_at', 'name'):
            index(table, 'environment', order, 'id')
    for name, condition in (('in_use', 'revoked_at IS NULL'), ('revoked', 'revoked_at IS NOT NULL')):
        partial(f'ix_api_keys_{name}', condition, 'api_keys', 'environment', 'created_at', 'id')
    op.drop_index('ix_operator_sessions_operator_id', 'operator_sessions')
    for name, order in (('seen', 'seen_at'), ('made', 'created_at')):
        op.create_index(f'ix_operator_sessions_{name}', 'operator_sessions', ['operator_id', 'ended_at', order, 'id'])
