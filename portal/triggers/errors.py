"""Refusals of webhooks that come from apps."""

from __future__ import annotations

from portal.refusals import Refusal, Unknown
from portal.runs.rules import TOGETHER


class UnknownAddress(Unknown):
    """Nothing listens at this address, or no longer."""

    title = "Nothing listens here"

    def message(self) -> str:
        return "No webhook is expected at this address. If it was registered once, take the registration away."


class SignatureWrong(Refusal):
    """The webhook isn't signed as its app declares."""

    status = 401
    title = "The signature doesn’t hold"

    def message(self) -> str:
        return "This webhook isn’t signed as it should be, so it was not taken."


class NotAnItem(Refusal):
    """The body of a webhook isn't what the app's declaration says."""

    title = "This can’t be read"

    def message(self) -> str:
        return "The body is no JSON, or holds nothing where the app’s declaration looks for items."


class TooManyItems(Refusal):
    """The webhook tells of more items than are taken at once."""

    status = 413
    title = "That is too much at once"

    def __init__(self, count: int) -> None:
        super().__init__(
            f"A webhook can tell of {TOGETHER} items here, and this one has {count:,}: send them in several."
        )


class AddressChanging(Refusal):
    """What listens at the address is being replaced at this moment."""

    status = 503
    title = "One moment"
    retry_after = 1

    def message(self) -> str:
        return "What listens here is being replaced at this moment, so nothing was taken: send it again."
