"""Finding reruns, refused credentials and days of runs by an index"""

import sqlalchemy as sa
from alembic import op

revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        'ix_runs_rerun_of', 'runs', ['rerun_of'],
        sqlite_where=sa.text('rerun_of IS NOT NULL'), postgresql_where=sa.text('rerun_of IS NOT NULL'),
    )
    op.create_index(
        'ix_credentials_environment_broken_at', 'credentials', ['environment', 'broken_at'],
        sqlite_where=sa.text('broken_at IS NOT NULL'), postgresql_where=sa.text('broken_at IS NOT NULL'),
    )
    op.create_index('ix_workflow_days_environment_day', 'workflow_days', ['environment', 'day'])
