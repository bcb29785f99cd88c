"""What the first view of a link needs, in one query: the way of nearly every request to the install page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from portal.credentials.models import Credential
from portal.db import Database
from portal.integrations.models import Integration
from portal.links.models import Link, LinkOrigin
from portal.links.token import NotOurToken, hash_token, read_token
from portal.users.models import User


@dataclass(frozen=True)
class UntouchedLink:
    """A usable link whose user has no credential yet, nor a draft, nor values given: its page shows empty forms."""

    integration_id: str
    integration_version: int
    workflow_ids: tuple[str, ...]
    username: str
    full_name: str | None
    expires_at: datetime
    locale: str | None = None


@cache
def _statement() -> sa.Select[*tuple[Any, ...]]:
    has_credentials = sa.exists().where(
        Credential.user_id == Link.user_id, sa.or_(Credential.link_id.is_(None), Credential.link_id == Link.id)
    )
    return (
        sa.select(
            Link.integration_id,
            Integration.version,
            Link.workflow_ids,
            User.username,
            User.full_name,
            Link.expires_at,
            Link.locale,
        )
        .join(User, Link.user_id == User.id)
        .join(Integration, Link.integration_id == Integration.id)
        .where(
            Link.token_hash == sa.bindparam("hash"),
            Link.finished_at.is_(None),
            Link.revoked_at.is_(None),
            Link.origin == LinkOrigin.link,
            Link.prefilled.is_(None),
            Link.manner.is_(None),
            Link.expires_at > sa.bindparam("now", type_=Link.expires_at.type),
            ~has_credentials,
        )
    )


def find_untouched(
    database: Database, keys: Sequence[str], token: str, integration_id: str, now: datetime
) -> UntouchedLink | None:
    """The untouched link that `token` stands for; None for every other link, and for no link at all."""
    try:
        if read_token(keys, token).integration_id != integration_id:
            return None
    except NotOurToken:
        return None
    row = database.ask(_statement(), {"hash": hash_token(token), "now": now})
    if row is None or row[0] != integration_id:
        return None
    return UntouchedLink(row[0], row[1], tuple(row[2] or ()), row[3], row[4], row[5], row[6])
