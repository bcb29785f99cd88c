"""The tables of what was changed on the dashboard: one row for each setting, and the logos that were uploaded."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from portal.clock import now
from portal.db import Base


class Preference(Base):
    """The value of one setting that isn't the environment's any more. `name` is the setting's, without `PORTAL_`."""

    __tablename__ = "preferences"

    name: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    value: Mapped[Any] = mapped_column(sa.JSON)
    changed_at: Mapped[datetime] = mapped_column(default=now)
    changed_by: Mapped[str] = mapped_column(sa.String(255))


class Logo(Base):
    """An uploaded picture, named by the hash of what it holds: it never changes, so it may be cached for good."""

    __tablename__ = "logos"

    name: Mapped[str] = mapped_column(sa.String(80), primary_key=True)
    content_type: Mapped[str] = mapped_column(sa.String(40))
    data: Mapped[bytes]
    made_at: Mapped[datetime] = mapped_column(default=now)
