"""Refusals about events, deliveries and endpoints."""

from __future__ import annotations

from portal.refusals import Refusal, Unknown


class UnknownEvent(Unknown):
    """No event by that id."""

    title = "No such event"

    def __init__(self, event_id: str) -> None:
        super().__init__(f"There is no event “{event_id}”. `flask event list` shows them.")


class UnknownDelivery(Unknown):
    """No delivery by that id."""

    title = "No such delivery"

    def __init__(self, delivery_id: str) -> None:
        super().__init__(f"There is no delivery “{delivery_id}”. The page of its event shows all of them.")


class UnknownEndpoint(Unknown):
    """No endpoint by that id."""

    title = "No such endpoint"

    def __init__(self, endpoint_id: str) -> None:
        super().__init__(f"There is no endpoint “{endpoint_id}”. It may have been removed.")


class NoEndpoint(Refusal):
    """There is nowhere to deliver to."""

    status = 409
    title = "There is no endpoint"

    def message(self) -> str:
        return (
            "No endpoint takes this kind of event just now. Set PORTAL_INSTALLATION_WEBHOOK_URL, or choose the kind "
            "for an endpoint on the dashboard, then try again."
        )


class EndpointSilent(Refusal):
    """The endpoint of a delivery is paused, removed, or has no address."""

    status = 409
    title = "This endpoint takes nothing just now"

    def message(self) -> str:
        return "It is paused, was removed, or has no address. Resume it or set its address first, then try again."


class BadEndpoint(Refusal):
    """What was typed about an endpoint can't be. `field` is where: name, url or kind."""

    status = 422
    title = "This can’t be an endpoint"

    def __init__(self, said: str, field: str = "name") -> None:
        super().__init__(said)
        self.field = field


class EndpointStays(Refusal):
    """The documented endpoint goes with the setting."""

    status = 409
    title = "This endpoint can’t be removed"

    def message(self) -> str:
        return "It follows PORTAL_INSTALLATION_WEBHOOK_URL. Pause it here, or take the setting away."


class BadSince(Refusal):
    """The time since when deliveries are to be done again can't be read."""

    status = 422
    title = "Since when?"

    def message(self) -> str:
        return "Say since when: 90m, 12h or 5d, or a date and time (UTC) such as 2026-03-02T12:00."
