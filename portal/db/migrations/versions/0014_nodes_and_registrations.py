"""Nodes with their signs of life, and hooks whose registration was asked for"""

import sqlalchemy as sa
from alembic import op

revision = '0014'
down_revision = '0013'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'nodes',
        sa.Column('executor_id', sa.String(length=64), nullable=False),
        sa.Column('boot', sa.String(length=64), nullable=False),
        sa.Column('seen_at', sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint('executor_id', name=op.f('pk_nodes')),
    )
    with op.batch_alter_table('hooks') as batch:
        batch.add_column(sa.Column('asked_at', sa.DateTime(timezone=True), nullable=True))
    # What isn't registered by now may have been asked for.
    op.execute('UPDATE hooks SET asked_at = COALESCE(registered_at, CURRENT_TIMESTAMP)')
