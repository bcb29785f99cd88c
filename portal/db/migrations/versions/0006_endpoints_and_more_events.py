"""Endpoints, more kinds of events, what each attempt sent"""

import sqlalchemy as sa
from alembic import op

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    endpoints = op.create_table('endpoints',
    sa.Column('id', sa.String(length=24), nullable=False),
    sa.Column('environment', sa.Enum('development', 'production', name='environment'), nullable=False),
    sa.Column('name', sa.String(length=120), nullable=False),
    sa.Column('url', sa.String(length=2000), nullable=True),
    sa.Column('kinds', sa.JSON(), nullable=False),
    sa.Column('is_enabled', sa.Boolean(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_endpoints'))
    )
    with op.batch_alter_table('endpoints', schema=None) as batch_op:
        batch_op.create_index('ix_endpoints_environment_created_at', ['environment', 'created_at'], unique=False)
    # The documented endpoint: it is there from the start, and gets what it always got.
    began = sa.func.current_timestamp()
    for environment in ('development', 'production'):
        op.execute(sa.insert(endpoints).values(
            id=f'documented-{environment}', environment=environment, name='Documented endpoint', url=None,
            kinds=['installation.finished'], is_enabled=True, created_at=began,
        ))

    with op.batch_alter_table('events', schema=None) as batch_op:
        batch_op.add_column(sa.Column('user_id', sa.String(length=24), nullable=True))
        batch_op.create_index(batch_op.f('ix_events_user_id'), ['user_id'], unique=False)
        batch_op.create_index('ix_events_environment_type_created_at_id', ['environment', 'type', 'created_at', 'id'], unique=False)
    op.execute("UPDATE events SET user_id = (SELECT user_id FROM installations WHERE installations.id = installation_id)")

    with op.batch_alter_table('deliveries', schema=None) as batch_op:
        batch_op.add_column(sa.Column('endpoint_id', sa.String(length=24), nullable=True))
        batch_op.create_foreign_key(batch_op.f('fk_deliveries_endpoint_id'), 'endpoints', ['endpoint_id'], ['id'], ondelete='SET NULL')
        batch_op.create_index('ix_deliveries_state_created_at_id', ['state', 'created_at', 'id'], unique=False)
        batch_op.create_index('ix_deliveries_endpoint_id_state_created_at_id', ['endpoint_id', 'state', 'created_at', 'id'], unique=False)
        batch_op.create_index('ix_deliveries_endpoint_id_created_at_id', ['endpoint_id', 'created_at', 'id'], unique=False)
        batch_op.drop_index(batch_op.f('ix_deliveries_event_id'))
        batch_op.create_index('ix_deliveries_event_id_endpoint_id_created_at', ['event_id', 'endpoint_id', 'created_at'], unique=False)
    op.execute("""
        UPDATE deliveries SET endpoint_id = 'documented-' ||
            (SELECT CAST(environment AS VARCHAR(20)) FROM events WHERE events.id = event_id)
    """)

    with op.batch_alter_table('delivery_attempts', schema=None) as batch_op:
        batch_op.add_column(sa.Column('headers', sa.JSON(), nullable=True))

    with op.batch_alter_table('links', schema=None) as batch_op:
        batch_op.add_column(sa.Column('quiet_since', sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column('warn_at', sa.DateTime(timezone=True), nullable=True))
        batch_op.create_index(batch_op.f('ix_links_quiet_since'), ['quiet_since'], unique=False)
        batch_op.create_index(batch_op.f('ix_links_warn_at'), ['warn_at'], unique=False)
    # Links that are out are warned of as well, unless their last day has begun.
    if op.get_bind().dialect.name == 'sqlite':
        day_before, at = "strftime('%Y-%m-%d %H:%M:%f000', expires_at, '-1 day')", "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
    else:
        day_before, at = "expires_at - interval '1 day'", "now()"
    op.execute(f"""
        UPDATE links SET warn_at = {day_before}
        WHERE origin = 'link' AND finished_at IS NULL AND revoked_at IS NULL AND {day_before} > {at}
    """)
