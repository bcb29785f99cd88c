"""Refusals about operators: of invitations and roles, of passkeys, of single sign-on; each with what to do instead."""

from __future__ import annotations

from portal.refusals import Refusal, Unknown


class BadEmail(Refusal):
    """Not an e-mail address."""

    title = "This is no e-mail address"

    def __init__(self, given: str) -> None:
        super().__init__(f"“{given[:80]}” is no e-mail address: write one such as ada@vendor.example.")


class UnknownOperator(Unknown):
    """No operator by that address."""

    title = "No such operator"

    def __init__(self, email: str) -> None:
        super().__init__(f"There is no operator “{email}”. `flask operator list` shows them.")


class InvitationUnusable(Refusal):
    """The sign-in link was used, is over, or isn't one of ours."""

    status = 410
    title = "This sign-in link can’t be used"

    def message(self) -> str:
        return (
            "A sign-in link works once, within an hour of being made. "
            "Ask an administrator, or whoever set this portal up, for a new one."
        )


class OtherPerson(Refusal):
    """Somebody proved who they are, but isn't who is signed in."""

    status = 403
    title = "That is somebody else"

    def message(self) -> str:
        return "You are signed in as another operator than the one who was proved just now. Nothing was changed."


class LastAdmin(Refusal):
    """There must be somebody who may do everything."""

    status = 409
    title = "This is the last administrator"

    def __init__(self, email: str) -> None:
        super().__init__(
            f"“{email}” is the only administrator. Make somebody else one first: "
            "`flask operator invite EMAIL --role admin`."
        )


class PasskeyRefused(Refusal):
    """What the browser sent doesn't prove anything: unknown key, old challenge, wrong origin."""

    title = "This passkey can’t be used"

    def message(self) -> str:
        return "It isn’t known here, or the attempt took too long. Try once more, or sign in with a link."


class NoPasskeysHere(Refusal):
    """Browsers bind passkeys to a host name."""

    status = 409
    title = "Passkeys need a host name"

    def message(self) -> str:
        return (
            "This portal is reached by an IP address. Set PORTAL_BASE_URL to a name, such as https://install.example."
        )


class NoProvider(Refusal):
    """Single sign-on isn't set up."""

    status = 404
    title = "There is no single sign-on here"

    def message(self) -> str:
        return "Nobody has set it up (PORTAL_OIDC_ISSUER). Sign in with a link or a passkey."


class ProviderSilent(Refusal):
    """The provider can't be reached, or answers what no provider would."""

    status = 502
    title = "The sign-in service doesn’t answer"

    def __init__(self, name: str, what: str) -> None:
        super().__init__(
            f"We asked {name} for {what} and got nothing that can be used. "
            "Try again in a moment, or sign in with a link or a passkey."
        )


class AttemptUnknown(Refusal):
    """What came back wasn't begun in this browser, or too long ago, or came back before."""

    title = "This sign-in wasn’t begun here"

    def message(self) -> str:
        return (
            "It was begun in another browser or window, more than ten minutes ago, or was finished before. "
            "Begin again on the sign-in page."
        )


class NotSignedIn(Refusal):
    """The provider (OpenID Connect) was asked who somebody is, and they still can't come in."""

    status = 403
    title = "You were not signed in"


class ProviderDeclined(NotSignedIn):
    """The provider says no."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} did not let you in, or you turned back there. Begin again on the sign-in page.")


class IdentityNotProved(NotSignedIn):
    """What the provider sent proves nothing: wrong signature, issuer, audience, nonce, or too old."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"What {name} sent doesn’t prove who you are: {why}. Begin again on the sign-in page; "
            "if it happens again, tell who runs this portal."
        )


class EmailNotVerified(NotSignedIn):
    """The provider doesn't vouch for the address."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} doesn’t say that your e-mail address is verified. Verify it there, then begin again; "
            "or sign in with a link."
        )


class DomainNotAllowed(NotSignedIn):
    """The address is of a domain that isn't among those that may come in."""

    def __init__(self, email: str) -> None:
        super().__init__(
            f"“{email[:255]}” is not of a domain that may sign in here. Use your account at work, "
            "or ask an administrator for a sign-in link."
        )


class NotInvited(NotSignedIn):
    """Nobody has invited this person, and newcomers aren't let in."""

    def __init__(self, email: str) -> None:
        super().__init__(
            f"Nobody has invited “{email[:255]}” yet. Ask an administrator, or whoever set this portal up, "
            "for a sign-in link."
        )
