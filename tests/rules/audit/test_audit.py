"""The audit log can be added to, and nothing else; what is very old may go when the setting says so."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from portal.audit.durable import forget_old_entries
from portal.audit.models import AuditEntry
from portal.audit.rules import write_down
from portal.clock import now
from portal.db import transaction
from portal.preferences.rules import change_preferences

HERE = Path(__file__).parent.parent.parent.parent


@pytest.fixture
def entries(app):
    """Two entries, of now and of two years ago."""
    with app.app_context():
        with transaction() as session:
            for age in (0, 730):
                at = now() - timedelta(days=age)
                write_down(session, "link.create", f"of {age}", actor="ada", environment=None, now=at)
        yield


def subjects():
    with transaction() as session:
        return set(session.scalars(sa.select(AuditEntry.subject)))


def test_no_code_of_ours_changes_or_deletes_an_entry_but_the_chore():
    touching = {
        str(path.relative_to(HERE))
        for path in (HERE / "portal").rglob("*.py")
        if re.search(r"(update|delete)\(\s*AuditEntry|session\.delete\(entry", path.read_text())
    }
    assert touching == {"portal/audit/durable.py"}


@pytest.mark.parametrize(
    "statement",
    [
        sa.update(AuditEntry).values(actor="somebody else"),
        sa.delete(AuditEntry).where(AuditEntry.subject == "of 0"),
        sa.delete(AuditEntry),
        sa.text("UPDATE audit_entries SET subject = 'nothing'"),
    ],
)
def test_the_database_refuses_to_change_or_delete_an_entry(entries, statement):
    with pytest.raises(IntegrityError, match="append-only"), transaction() as session:
        session.execute(statement)
    assert subjects() == {"of 0", "of 730"}


def test_old_entries_stay_unless_the_setting_says_how_far_back_the_log_goes(app, entries):
    forget_old_entries()
    assert subjects() == {"of 0", "of 730"}
    with transaction() as session:
        change_preferences(session, app.config["PORTAL_SETTINGS"], {"audit_days": 366}, by="ada", now=now())
    app.extensions["settings"].refresh()
    forget_old_entries()
    assert subjects() == {"of 0"}
