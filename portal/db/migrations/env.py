"""Alembic's entry: migrates the engine that `portal.db.migrating` hands over, online only."""

from alembic import context

from portal.db import Base
from portal.tables import OURS

engine = context.config.attributes["engine"]
with engine.connect() as connection:
    if connection.dialect.name == "sqlite":
        # A table that is rebuilt is dropped on the way: what refers to it must not be deleted with it.
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.rollback()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        include_name=lambda name, kind, parents: kind != "table" or name in OURS,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
