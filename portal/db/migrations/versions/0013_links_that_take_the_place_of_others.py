"""Which link took the place of another, and who asks for a new one in pages"""

import sqlalchemy as sa
from alembic import op

revision = '0013'
down_revision = '0012'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('links', sa.Column('replaced_by', sa.String(24)))
    op.drop_index('ix_links_requested', 'links')
    for name, columns in (
        ('ix_links_requested', ['environment', 'requested_at', 'id']),
        ('ix_links_requested_of_integration', ['environment', 'integration_id', 'requested_at', 'id']),
    ):
        op.create_index(
            name, 'links', columns,
            sqlite_where=sa.text('requested_at IS NOT NULL'), postgresql_where=sa.text('requested_at IS NOT NULL'),
        )
