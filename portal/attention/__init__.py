"""What needs an operator's attention, and how it goes: questions over links, installations, deliveries and runs.

The session decides whose environment is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from portal.attention.bounds import LOOK_BACK, MOST
from portal.attention.deliveries import failing_deliveries
from portal.attention.installations import RefusedAccount, broken_installations, refused_accounts
from portal.attention.links import Stalled, asking_links, expiring_links, stalled_links
from portal.events.models import Delivery
from portal.installations.models import Installation
from portal.links.models import Link
from portal.runs.models import Run, RunState
from portal.runs.reading import select_runs


@dataclass(frozen=True)
class Attention:
    """What needs attention first."""

    asked: list[Link]
    expiring: list[Link]
    stalled: list[Stalled]
    failing: list[Delivery]
    broken: list[Installation]
    refused: list[RefusedAccount]
    failed_runs: list[Run]

    @property
    def is_empty(self) -> bool:
        """Whether everything is fine."""
        return not any(
            (self.asked, self.expiring, self.stalled, self.failing, self.broken, self.refused, self.failed_runs)
        )


def what_needs_attention(session: Session, now: datetime) -> Attention:
    """Who asks for a new link, which links end soon unopened, which installs stalled, which webhooks fail.

    Also installations that lack a credential or whose account is refused, and runs that failed. `MOST` of each kind at
    the most, and no question reads a whole table.
    """
    return Attention(
        asking_links(session, now),
        expiring_links(session, now),
        stalled_links(session, now),
        failing_deliveries(session, now),
        broken_installations(session),
        refused_accounts(session),
        list(
            session.scalars(
                select_runs(state=RunState.failed, since=now - LOOK_BACK).order_by(Run.created_at.desc()).limit(MOST)
            )
        ),
    )
