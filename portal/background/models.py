"""The table of nodes: the processes that run the engine on this database."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Base


class Node(Base):
    """A process that runs the engine, and when it was seen last by the database's clock.

    `boot` tells this start of it from every other one under the same name; what stands before its dot is the data
    folder that it runs from.
    """

    __tablename__ = "nodes"

    executor_id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    boot: Mapped[str] = mapped_column(sa.String(64))
    seen_at: Mapped[datetime]
