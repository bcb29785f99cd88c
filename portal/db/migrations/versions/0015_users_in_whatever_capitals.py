"""Users are found in whatever capitals"""

import sqlalchemy as sa
from alembic import op

revision = '0015'
down_revision = '0014'
branch_labels = None
depends_on = None


def upgrade() -> None:
    # On PostgreSQL a name has the order and the letters of C, and so has this: both databases know those of ASCII.
    op.create_index(
        'ix_users_environment_small_username_id', 'users', ['environment', sa.text('lower(username)'), 'id']
    )
