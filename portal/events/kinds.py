"""Every kind of event in one place: its name, what it means, and an example of what is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

INSTALLATION_FINISHED = "installation.finished"
INSTALLATION_REMOVED = "installation.removed"
LINK_OPENED = "link.opened"
LINK_FAILED = "link.failed"
LINK_ABANDONED = "link.abandoned"
LINK_EXPIRING = "link.expiring"
LINK_REQUESTED = "link.requested"
CREDENTIAL_BROKEN = "credential.broken"
RUN_FAILED = "run.failed"
TEST = "test"


@dataclass(frozen=True)
class Kind:
    """A kind of event. `example` holds the facts that `announce` takes; `body_of` makes of them what is sent."""

    name: str
    meaning: str
    example: Mapping[str, Any]


_LINK = {
    "linkId": "65f0c0ffee0000000000f001",
    "userId": "65f0c0ffee0000000000a001",
    "integrationId": "65f0c0ffee0000000000c001",
}

_ALL = (
    Kind(
        INSTALLATION_FINISHED,
        "A user finished an installation.",
        {
            "userId": "65f0c0ffee0000000000a001",
            "workflowIds": ["65f0c0ffee0000000000b001"],
            "integrationId": "65f0c0ffee0000000000c001",
            "credentials": {"magento": "65f0c0ffee0000000000d001"},
            "success": True,
        },
    ),
    Kind(
        INSTALLATION_REMOVED,
        "An installation was taken away: uninstalled, or deleted with its user.",
        {
            "installationId": "65f0c0ffee00000000001001",
            "userId": "65f0c0ffee0000000000a001",
            "integrationId": "65f0c0ffee0000000000c001",
            "workflowIds": ["65f0c0ffee0000000000b001"],
            "reason": "uninstalled",
            "removedAt": "2026-03-02T12:00:00Z",
        },
    ),
    Kind(
        LINK_OPENED,
        "A person was on the page of an install link for the first time.",
        {**_LINK, "openedAt": "2026-03-02T12:00:00Z"},
    ),
    Kind(
        LINK_FAILED,
        "A user tried to connect an app and it didn’t work; the field and the reason are in words.",
        {
            **_LINK,
            "app": "magento",
            "field": "access_token",
            "fieldTitle": "Access token",
            "reason": "unauthorized",
            "message": "Magento did not accept this access token. "
            "Copy it again as a whole, and check that it hasn’t been withdrawn.",
            "failedAt": "2026-03-02T12:00:00Z",
        },
    ),
    Kind(
        LINK_ABANDONED,
        "A user opened an install link, and stopped before it was finished.",
        {
            **_LINK,
            "openedAt": "2026-03-02T12:00:00Z",
            "lastActionAt": "2026-03-02T12:04:00Z",
            "lastFailure": "Magento did not accept this access token. "
            "Copy it again as a whole, and check that it hasn’t been withdrawn.",
        },
    ),
    Kind(
        LINK_EXPIRING,
        "An install link that wasn’t finished ends within a day.",
        {**_LINK, "expiresAt": "2026-03-02T12:00:00Z", "opened": False},
    ),
    Kind(
        LINK_REQUESTED,
        "A user asks for a new install link, on the page of one that has ended.",
        {**_LINK, "state": "expired", "requestedAt": "2026-03-02T12:00:00Z"},
    ),
    Kind(
        CREDENTIAL_BROKEN,
        "A credential that worked is not accepted any more; the user has to connect again.",
        {
            "userId": "65f0c0ffee0000000000a001",
            "app": "magento",
            "credentialId": "65f0c0ffee0000000000d001",
            "account": "Luma Store",
            "message": "Magento did not accept this access token.",
        },
    ),
    Kind(
        RUN_FAILED,
        "A run of a user’s workflow failed.",
        {
            "userId": "65f0c0ffee0000000000a001",
            "workflowId": "65f0c0ffee0000000000b001",
            "executionId": "65f0c0ffee00000000002001",
            "integrationId": "65f0c0ffee0000000000c001",
            "block": "Send the order",
            "message": "The endpoint answered 500.",
        },
    ),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}

# What may be stored without anybody who takes it, so that it can be delivered later.
KEPT_ALWAYS = frozenset({INSTALLATION_FINISHED})


def body_of(kind: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent: the documented installation event as it always was, every other with its `type` first."""
    return dict(facts) if kind == INSTALLATION_FINISHED else {"type": kind, **facts}


def trial_body(kind: str) -> dict[str, Any]:
    """A test event that acts the kind out; nobody can take it for a real one."""
    return {"type": TEST, "kind": kind, "example": body_of(kind, KINDS[kind].example)}


def meaning_of(kind: str) -> str:
    """What an event of this kind says, in a sentence."""
    if kind == TEST:
        return "An operator tried an endpoint; nothing has happened."
    return KINDS[kind].meaning if kind in KINDS else kind
