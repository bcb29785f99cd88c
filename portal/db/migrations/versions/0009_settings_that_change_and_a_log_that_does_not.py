"""Settings that change while the portal runs, logos, an audit log that can be filtered and not be changed"""

import sqlalchemy as sa
from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None

CHANGED = 'the audit log is append-only'
# Entries may go when they are older than this, and not before: the setting says when they do (portal/audit/durable.py).
DAYS = 365

SQLITE = (
    f"""CREATE TRIGGER audit_entries_stay_as_they_are BEFORE UPDATE ON audit_entries
    BEGIN SELECT RAISE(ABORT, '{CHANGED}'); END""",
    f"""CREATE TRIGGER audit_entries_stay BEFORE DELETE ON audit_entries
    WHEN OLD.at > datetime('now', '-{DAYS} days')
    BEGIN SELECT RAISE(ABORT, '{CHANGED}'); END""",
)
POSTGRESQL = (
    f"""CREATE FUNCTION keep_audit_entries() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' AND OLD.at <= now() - interval '{DAYS} days' THEN RETURN OLD; END IF;
        RAISE EXCEPTION '{CHANGED}';
    END $$""",
    """CREATE TRIGGER audit_entries_stay BEFORE UPDATE OR DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION keep_audit_entries()""",
    """CREATE TRIGGER audit_entries_stay_all BEFORE TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION keep_audit_entries()""",
)


def upgrade() -> None:
    op.create_table('preferences',
    sa.Column('name', sa.String(length=40), nullable=False),
    sa.Column('value', sa.JSON(), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('changed_by', sa.String(length=255), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_preferences'))
    )
    op.create_table('logos',
    sa.Column('name', sa.String(length=80), nullable=False),
    sa.Column('content_type', sa.String(length=40), nullable=False),
    sa.Column('data', sa.LargeBinary(), nullable=False),
    sa.Column('made_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_logos'))
    )
    op.create_index('ix_audit_entries_actor_at_id', 'audit_entries', ['actor', 'at', 'id'])
    op.create_index('ix_audit_entries_action_at_id', 'audit_entries', ['action', 'at', 'id'])
    is_sqlite = op.get_bind().dialect.name == 'sqlite'
    for statement in SQLITE if is_sqlite else POSTGRESQL:
        op.execute(statement)
