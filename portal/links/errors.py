"""Refusals about links. Each has its own sentence; a token that isn't ours gets one page, whatever is wrong with it."""

from __future__ import annotations

from abc import abstractmethod

from portal.languages import Sentence, plural, sentence
from portal.links.models import Link
from portal.refusals import Refusal, Unknown


class LinkUnknown(Refusal):
    """No such link: altered, cut, made elsewhere or for another integration. The page gives no hint which."""

    status = 404
    title = sentence("This link doesn’t work")

    def message(self) -> str:
        return sentence(
            "The address may have been cut off or changed on its way to you. "
            "Open it again from the message that you got, as a whole, or ask the person who sent it for a new one."
        )


class LinkEnded(Refusal):
    """Base of the refusals for a link that was good once. The facts are copied: the row may be out of reach later."""

    status = 410
    tells_installed = True  # whether its page may say what is installed already

    def __init__(self, link: Link) -> None:
        super().__init__(self._sentence(link))
        self.finished_by = link.finished_by
        self.environment = link.environment
        # Whose it was and for what: what is told of that, is told to whoever holds the link.
        self.user_id, self.integration_id = link.user_id, link.integration_id

    @abstractmethod
    def _sentence(self, link: Link) -> Sentence: ...


class LinkFinished(LinkEnded):
    """The installation that this link was for is done."""

    title = sentence("This link was already used")

    def _sentence(self, link: Link) -> Sentence:
        done = _done(link)
        return sentence(
            "{done} There is nothing left to do here: you can close this page. "
            "To connect again, ask the people who sent it for a new link.",
            done=done,
        )


def _done(link: Link) -> Sentence:
    day = link.finished_at or link.expires_at
    if link.integration is None:
        return sentence("An account was connected with it on {day}.", day=day)
    return sentence("{name} was installed with it on {day}.", name=link.name, day=day)


class LinkRevoked(LinkEnded):
    """The vendor took the link back: maybe because somebody else has it, so the page says nothing more."""

    tells_installed = False
    title = sentence("This link was withdrawn")

    def _sentence(self, link: Link) -> Sentence:
        return sentence(
            "The people who sent it have withdrawn it. Ask them for a new link if you still want to connect."
        )


class LinkExpired(LinkEnded):
    """The link's life is over."""

    title = sentence("This link has expired")

    def _sentence(self, link: Link) -> Sentence:
        return sentence("It could be used until {day}. Ask the people who sent it for a new one.", day=link.expires_at)


class TooManyTries(Refusal):
    """Ten tries failed within ten minutes."""

    status = 429
    title = sentence("Too many tries")

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after

    def message(self) -> str:
        minutes = max(1, -(-self.retry_after // 60))
        return plural(
            "These details were refused several times. Please wait a minute, then try again. "
            "The link stays usable, and nothing that you have connected is lost.",
            "These details were refused several times. Please wait {count} minutes, then try again. "
            "The link stays usable, and nothing that you have connected is lost.",
            minutes,
        )


class NotItsWorkflow(Refusal):
    """A link was asked for workflows that the integration doesn't have."""

    status = 404
    title = "No such workflow"


class WorkflowsGone(Refusal):
    """A link can't be replaced as it was: its integration has none of its workflows any more."""

    status = 409
    title = "Its workflows are gone"

    def __init__(self, link: Link) -> None:
        super().__init__(f"{link.name} has none of the workflows any more that this link was for. Share it anew.")


class BadLinkOption(Refusal):
    """An option of a new link can't be taken."""

    title = "This link can’t be made"


class NoSuchField(Refusal):
    """A value was given for a field that nothing has."""

    status = 404
    title = "No such field"

    def __init__(self, name: str) -> None:
        super().__init__(f"“{name}” can’t be pre-filled: nothing that is asked for has a field of this name.")


class NoSuchLink(Unknown):
    """The vendor's side named a link by an id that none has."""

    title = "No such link"

    def __init__(self, link_id: str) -> None:
        super().__init__(f"There is no link “{link_id}”. GET /links or `flask link list` shows them.")
