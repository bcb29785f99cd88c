"""API keys, calls that may be repeated, links for the modal, settings of workflows"""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('api_keys',
    sa.Column('id', sa.String(length=24), nullable=False),
    sa.Column('name', sa.String(length=120), nullable=False),
    sa.Column('prefix', sa.String(length=32), nullable=False),
    sa.Column('key_hash', sa.String(length=64), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('last_used_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('environment', sa.Enum('development', 'production', name='environment'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_api_keys')),
    sa.UniqueConstraint('key_hash', name=op.f('uq_api_keys_key_hash'))
    )
    op.create_table('idempotent_calls',
    sa.Column('id', sa.String(length=24), nullable=False),
    sa.Column('key_hash', sa.String(length=64), nullable=False),
    sa.Column('fingerprint', sa.String(length=64), nullable=False),
    sa.Column('status', sa.Integer(), nullable=True),
    sa.Column('sealed', sa.LargeBinary(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('environment', sa.Enum('development', 'production', name='environment'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_idempotent_calls')),
    sa.UniqueConstraint('environment', 'key_hash', name=op.f('uq_idempotent_calls_environment_key_hash'))
    )
    with op.batch_alter_table('idempotent_calls', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_idempotent_calls_created_at'), ['created_at'], unique=False)

    # What every row must have is filled in before it is asked for.
    environment = sa.Enum('development', 'production', name='environment')
    with op.batch_alter_table('child_workflows', schema=None) as batch_op:
        batch_op.add_column(sa.Column('values', sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column('output_override', sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column('removed_at', sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column('environment', environment, nullable=True))
    op.execute("""
        UPDATE child_workflows SET "values" = '{}',
            environment = (SELECT environment FROM installations WHERE installations.id = installation_id),
            removed_at = (SELECT removed_at FROM installations WHERE installations.id = installation_id)
    """)
    with op.batch_alter_table('child_workflows', schema=None) as batch_op:
        batch_op.alter_column('values', existing_type=sa.JSON(), nullable=False)
        batch_op.alter_column('environment', existing_type=environment, nullable=False)

    with op.batch_alter_table('events', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_events_created_at'))
        batch_op.create_index('ix_events_environment_created_at_id', ['environment', 'created_at', 'id'], unique=False)

    with op.batch_alter_table('installations', schema=None) as batch_op:
        batch_op.create_index('ix_installations_environment_installed_at_id', ['environment', 'installed_at', 'id'], unique=False)

    origin = sa.Enum('link', 'modal', 'connection', 'headless', name='linkorigin')
    origin.create(op.get_bind(), checkfirst=True)
    with op.batch_alter_table('links', schema=None) as batch_op:
        batch_op.add_column(sa.Column('origin', origin, nullable=True))
        batch_op.add_column(sa.Column('app', sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column('locale', sa.String(length=35), nullable=True))
        batch_op.add_column(sa.Column('prefilled', sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column('manner', sa.JSON(), nullable=True))
        batch_op.alter_column('integration_id', existing_type=sa.String(length=24), nullable=True)
        batch_op.drop_index(batch_op.f('ix_links_created_at'))
        batch_op.create_index('ix_links_environment_created_at_id', ['environment', 'created_at', 'id'], unique=False)
    op.execute("UPDATE links SET origin = 'link'")
    with op.batch_alter_table('links', schema=None) as batch_op:
        batch_op.alter_column('origin', existing_type=origin, nullable=False)

    with op.batch_alter_table('users', schema=None) as batch_op:
        batch_op.create_index('ix_users_environment_created_at_id', ['environment', 'created_at', 'id'], unique=False)
