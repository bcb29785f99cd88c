"""Runs, triggers, and what is counted"""

import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('workflow_days',
    sa.Column('id', sa.String(length=24), nullable=False),
    sa.Column('workflow_id', sa.String(length=24), nullable=False),
    sa.Column('day', sa.Date(), nullable=False),
    sa.Column('runs', sa.Integer(), nullable=False),
    sa.Column('errors', sa.Integer(), nullable=False),
    sa.Column('actions', sa.Integer(), nullable=False),
    sa.Column('environment', sa.Enum('development', 'production', name='environment'), nullable=False),
    sa.ForeignKeyConstraint(['workflow_id'], ['workflows.id'], name=op.f('fk_workflow_days_workflow_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_workflow_days')),
    sa.UniqueConstraint('workflow_id', 'environment', 'day', name=op.f('uq_workflow_days_workflow_id_environment_day'))
    )
    op.create_table('hooks',
    sa.Column('child_id', sa.String(length=24), nullable=False),
    sa.Column('address_hash', sa.String(length=64), nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.Column('hook_id', sa.String(length=255), nullable=True),
    sa.Column('registered_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('received_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('error', sa.String(length=500), nullable=True),
    sa.ForeignKeyConstraint(['child_id'], ['child_workflows.id'], name=op.f('fk_hooks_child_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('child_id', name=op.f('pk_hooks')),
    sa.UniqueConstraint('address_hash', name=op.f('uq_hooks_address_hash'))
    )
    op.create_table('runs',
    sa.Column('id', sa.String(length=24), nullable=False),
    sa.Column('child_id', sa.String(length=24), nullable=False),
    sa.Column('workflow_id', sa.String(length=24), nullable=False),
    sa.Column('user_id', sa.String(length=24), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('trigger', sa.String(length=16), nullable=False),
    sa.Column('state', sa.Enum('queued', 'running', 'retrying', 'waiting', 'paused', 'succeeded', 'filtered', 'failed', 'cancelled', name='runstate'), nullable=False),
    sa.Column('sealed_item', sa.LargeBinary(), nullable=True),
    sa.Column('sealed_memory', sa.LargeBinary(), nullable=True),
    sa.Column('rerun_of', sa.String(length=24), nullable=True),
    sa.Column('leg', sa.Integer(), nullable=False),
    sa.Column('is_parked', sa.Boolean(), nullable=False),
    sa.Column('progress', sa.Integer(), nullable=False),
    sa.Column('actions', sa.Integer(), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('failing_since', sa.DateTime(timezone=True), nullable=True),
    sa.Column('next_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('error', sa.String(length=1000), nullable=True),
    sa.Column('error_block', sa.String(length=120), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('environment', sa.Enum('development', 'production', name='environment'), nullable=False),
    sa.ForeignKeyConstraint(['child_id'], ['child_workflows.id'], name=op.f('fk_runs_child_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_runs_user_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['workflow_id'], ['workflows.id'], name=op.f('fk_runs_workflow_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_runs')),
    sa.UniqueConstraint('child_id', 'number', name=op.f('uq_runs_child_id_number'))
    )
    with op.batch_alter_table('runs', schema=None) as batch_op:
        batch_op.create_index('ix_runs_unfinished', ['child_id', 'number'], unique=False, sqlite_where=sa.text('ended_at IS NULL'), postgresql_where=sa.text('ended_at IS NULL'))
        batch_op.create_index('ix_runs_environment_created_at_id', ['environment', 'created_at', 'id'], unique=False)
        batch_op.create_index('ix_runs_environment_state_created_at_id', ['environment', 'state', 'created_at', 'id'], unique=False)
        batch_op.create_index('ix_runs_environment_workflow_id_created_at_id', ['environment', 'workflow_id', 'created_at', 'id'], unique=False)
        batch_op.create_index('ix_runs_environment_workflow_id_state_created_at_id', ['environment', 'workflow_id', 'state', 'created_at', 'id'], unique=False)
        batch_op.create_index('ix_runs_user_id_created_at_id', ['user_id', 'created_at', 'id'], unique=False)

    op.create_table('seen_items',
    sa.Column('child_id', sa.String(length=24), nullable=False),
    sa.Column('key', sa.LargeBinary(length=16), nullable=False),
    sa.ForeignKeyConstraint(['child_id'], ['child_workflows.id'], name=op.f('fk_seen_items_child_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('child_id', 'key', name=op.f('pk_seen_items'))
    )
    op.create_table('watches',
    sa.Column('child_id', sa.String(length=24), nullable=False),
    sa.Column('next_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('begun_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('start', sa.String(length=64), nullable=True),
    sa.Column('since', sa.String(length=64), nullable=True),
    sa.Column('walk_from', sa.String(length=64), nullable=True),
    sa.Column('page', sa.Integer(), nullable=False),
    sa.Column('claimed_by', sa.String(length=64), nullable=True),
    sa.Column('asked_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('found_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('failures', sa.Integer(), nullable=False),
    sa.Column('error', sa.String(length=500), nullable=True),
    sa.ForeignKeyConstraint(['child_id'], ['child_workflows.id'], name=op.f('fk_watches_child_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('child_id', name=op.f('pk_watches'))
    )
    with op.batch_alter_table('watches', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_watches_claimed_by'), ['claimed_by'], unique=False)
        batch_op.create_index(batch_op.f('ix_watches_next_at'), ['next_at'], unique=False)

    op.create_table('run_steps',
    sa.Column('id', sa.String(length=24), nullable=False),
    sa.Column('run_id', sa.String(length=24), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('path', sa.String(length=64), nullable=False),
    sa.Column('block_id', sa.String(length=24), nullable=False),
    sa.Column('name', sa.String(length=120), nullable=False),
    sa.Column('kind', sa.String(length=16), nullable=False),
    sa.Column('state', sa.Enum('queued', 'running', 'retrying', 'waiting', 'paused', 'succeeded', 'filtered', 'failed', 'cancelled', name='runstate'), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('stopped_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('input', sa.Text(), nullable=True),
    sa.Column('output', sa.Text(), nullable=True),
    sa.Column('error', sa.String(length=1000), nullable=True),
    sa.ForeignKeyConstraint(['run_id'], ['runs.id'], name=op.f('fk_run_steps_run_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_run_steps')),
    sa.UniqueConstraint('run_id', 'path', name=op.f('uq_run_steps_run_id_path'))
    )
    with op.batch_alter_table('child_workflows', schema=None) as batch_op:
        batch_op.add_column(sa.Column('user_id', sa.String(length=24), nullable=True))
        batch_op.add_column(sa.Column('paused_at', sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column('paused_because', sa.String(length=500), nullable=True))
        batch_op.add_column(sa.Column('runs_made', sa.Integer(), nullable=False, server_default='0'))
    op.execute(
        "UPDATE child_workflows SET user_id ="
        " (SELECT user_id FROM installations WHERE installations.id = child_workflows.installation_id)"
    )
    with op.batch_alter_table('child_workflows', schema=None) as batch_op:
        batch_op.alter_column('user_id', existing_type=sa.String(length=24), nullable=False)
        batch_op.alter_column('runs_made', existing_type=sa.Integer(), server_default=None)
        batch_op.create_index(batch_op.f('ix_child_workflows_user_id'), ['user_id'], unique=False)
        batch_op.create_foreign_key(batch_op.f('fk_child_workflows_user_id'), 'users', ['user_id'], ['id'], ondelete='CASCADE')

    with op.batch_alter_table('credentials', schema=None) as batch_op:
        batch_op.add_column(sa.Column('broken_at', sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column('broken_because', sa.String(length=500), nullable=True))
    _watch_what_is_installed()


def _watch_what_is_installed() -> None:
    """Children that were installed before there was anything to run them begin now, those that poll an app."""
    moment = datetime.now(UTC)
    children = sa.table('child_workflows', sa.column('id'), sa.column('definition', sa.JSON()), sa.column('is_active'), sa.column('removed_at'))
    watches = sa.table(
        'watches', sa.column('child_id'), sa.column('next_at', sa.DateTime(timezone=True)), sa.column('begun_at', sa.DateTime(timezone=True)),
        sa.column('page'), sa.column('failures'),
    )
    active = sa.select(children.c.id, children.c.definition).where(children.c.is_active, children.c.removed_at.is_(None))
    for child_id, definition in op.get_bind().execute(active).all():
        found = json.loads(definition) if isinstance(definition, str) else definition
        if 'poll' in found.get('trigger', {}):
            op.execute(watches.insert().values(child_id=child_id, next_at=moment, begun_at=moment, page=1, failures=0))
