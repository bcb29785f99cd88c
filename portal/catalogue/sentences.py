"""Every sentence about a connection that couldn't be made, in one place, so that they can be read together."""

from __future__ import annotations

from portal.catalogue.declarations import App
from portal.catalogue.reasons import Reason
from portal.http import Problem

_SENTENCES: dict[Reason | Problem, str] = {
    Reason.unauthorized: "{title} did not accept this {secret}. Copy it again as a whole, and check that it hasn’t been withdrawn.",
    Reason.forbidden: "{title} knows this {secret}, but it isn’t allowed to do enough. Give it the access described under “Where do I find this?”, then try again.",
    Reason.not_found: "{host} answered, but {title} isn’t at this address. Is the address right?",
    Reason.rate_limited: "{title} is getting too many requests just now. Wait a minute, then try again.",
    Reason.provider_error: "{title} has a problem of its own just now. Your details may be right: try again in a few minutes.",
    Reason.not_json: "{host} answered with something other than {title}. Is the address right?",
    Reason.redirected: "{host} sends us on to {target}. If that is the right place, type that address here.",
    Reason.unexpected: "{host} gave an answer that {title} wouldn’t give. Check these details, then try again.",
    Problem.no_such_host: "There is no server called {host}. Check the spelling of the address.",
    Problem.refused: "{host} is there, but refused the connection. Check the address; if it is right, the server may be down.",
    Problem.tls: "{host} has no valid security certificate, so we sent nothing. Check the address, or ask whoever runs it to renew the certificate.",
    Problem.timeout: "{host} took too long to answer. Check the address, or try again in a few minutes.",
    Problem.private_address: "{host} is an address inside a private network, which we can’t reach. Type the address that works from anywhere.",
    Problem.plain_http: "This address begins with http://, which isn’t secure. Type it with https:// instead.",
    Problem.too_large: "{host} sent far more than {title} would. Is the address right?",
    Problem.busy: "Many people are connecting to {title} at this moment. Nothing is lost: try again in a moment.",
    Problem.broken: "{host} broke off in the middle of its answer. Check the address, or try again in a few minutes.",
}


def sentence_for(app: App, reason: Reason | Problem, host: str, *, target: str = "") -> str:
    """What to tell the end user about `reason`, for `app` at `host` (redirected to the origin `target`)."""
    secrets = [field.title[:1].lower() + field.title[1:] for field in app.fields if field.is_secret]
    return _SENTENCES[reason].format(
        title=app.title, host=host or app.title, target=target, secret=" or ".join(secrets) or "credential"
    )
