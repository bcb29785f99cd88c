"""How many installations were finished on each day; sign-ins in the order in which they were seen alone"""

import sqlalchemy as sa
from alembic import op

revision = '0016'
down_revision = '0015'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'installation_days',
        sa.Column('environment', sa.Enum('development', 'production', name='environment'), nullable=False),
        sa.Column('day', sa.Date(), nullable=False),
        sa.Column('finished', sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint('environment', 'day', name=op.f('pk_installation_days')),
    )
    # Those that went with their users are not to be counted any more.
    is_sqlite = op.get_bind().dialect.name == 'sqlite'
    day = 'date(installed_at)' if is_sqlite else "CAST(installed_at AT TIME ZONE 'UTC' AS date)"
    op.execute(
        'INSERT INTO installation_days (environment, day, finished) '
        f'SELECT environment, {day}, count(*) FROM installations GROUP BY environment, {day}'
    )
    # It led through all that had run out to those that hadn't.
    op.drop_index('ix_operator_sessions_made', 'operator_sessions')
