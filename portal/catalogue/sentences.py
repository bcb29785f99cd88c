"""Every sentence about a connection that couldn't be made, in one place, so that they can be read together."""

from __future__ import annotations

from portal.catalogue.declarations import App
from portal.catalogue.reasons import Reason
from portal.http import Problem
from portal.languages import Declared, Sentence, either, sentence, words

SENTENCES: dict[Reason | Problem, str] = {
    Reason.unauthorized: words(
        "{title} did not accept this {secret}. Copy it again as a whole, and check that it hasn’t been withdrawn."
    ),
    Reason.forbidden: words(
        "{title} knows this {secret}, but it isn’t allowed to do enough. Give it the access described under “Where do I find this?”, then try again."
    ),
    Reason.not_found: words("{host} answered, but {title} isn’t at this address. Is the address right?"),
    Reason.rate_limited: words("{title} is getting too many requests just now. Wait a minute, then try again."),
    Reason.provider_error: words(
        "{title} has a problem of its own just now. Your details may be right: try again in a few minutes."
    ),
    Reason.not_json: words("{host} answered with something other than {title}. Is the address right?"),
    Reason.redirected: words("{host} sends us on to {target}. If that is the right place, type that address here."),
    Reason.unexpected: words("{host} gave an answer that {title} wouldn’t give. Check these details, then try again."),
    Problem.no_such_host: words("There is no server called {host}. Check the spelling of the address."),
    Problem.refused: words(
        "{host} is there, but refused the connection. Check the address; if it is right, the server may be down."
    ),
    Problem.tls: words(
        "{host} has no valid security certificate, so we sent nothing. Check the address, or ask whoever runs it to renew the certificate."
    ),
    Problem.timeout: words("{host} took too long to answer. Check the address, or try again in a few minutes."),
    Problem.private_address: words(
        "{host} is an address inside a private network, which we can’t reach. Type the address that works from anywhere."
    ),
    Problem.plain_http: words("This address begins with http://, which isn’t secure. Type it with https:// instead."),
    Problem.too_large: words("{host} sent far more than {title} would. Is the address right?"),
    Problem.busy: words(
        "Many people are connecting to {title} at this moment. Nothing is lost: try again in a moment."
    ),
    Problem.broken: words(
        "{host} broke off in the middle of its answer. Check the address, or try again in a few minutes."
    ),
}


def sentence_for(app: App, reason: Reason | Problem, host: str, *, target: str = "") -> Sentence:
    """What to tell the end user about `reason`, for `app` at `host` (redirected to the origin `target`)."""
    secrets = [Declared(field.title) for field in app.fields if field.is_secret]
    return sentence(
        SENTENCES[reason],
        title=app.title,
        host=host or app.title,
        target=target,
        secret=either(secrets or [sentence("credential")]),
    )
