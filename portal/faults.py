"""The words for faults that are nobody's input, and their note in the log under a reference number."""

from __future__ import annotations

import secrets

import structlog

from portal.languages import sentence, words

log = structlog.get_logger(__name__)

OVERLOADED = sentence(
    "The portal is very busy, or its storage doesn’t answer just now. Nothing that you had connected is lost, and "
    "your link still works: wait a moment, then open it again or press the button again."
)
TOO_LARGE = sentence("What was sent is larger than this page can take. Check what was pasted, then try again.")
BROKEN = words(
    "This is our mistake, not yours. What you had connected is kept, and your link still works: try again in a few "
    "minutes. If it happens again, tell the people who sent you the link this number: {reference}"
)
JSON = {
    503: "The portal is very busy just now. Nothing was changed: send it again in a moment.",
    404: "There is nothing at this address. GET /openapi.json lists what there is.",
    405: "This address can’t be called with this method. GET /openapi.json lists what there is.",
}
HTTP = {
    404: (
        sentence("There is nothing here"),
        sentence("Check the address. If you were sent a link, open it as a whole, as it was sent."),
    ),
    400: (sentence("That request couldn’t be read"), sentence("Go back, reload the page, and try again.")),
    405: (
        sentence("That can’t be done here"),
        sentence("Open the link that you were sent, and use the buttons on its page."),
    ),
    503: (sentence("Please try again in a moment"), OVERLOADED),
    414: (
        sentence("This address is too long"),
        sentence("Open the link as a whole, exactly as it was sent to you."),
    ),
}
# What operators read instead: they were sent no link.
OPERATORS_OVERLOADED = (
    "The portal is very busy, or its storage doesn’t answer just now. What you did last may not have been done: wait a "
    "moment, look, and do it again if it wasn’t."
)
OPERATORS_BROKEN = (
    "This is our mistake, not yours. What you did last may not have been done: look, and try again in a few minutes. "
    "If it happens again, tell whoever runs this portal this number: {reference}"
)
OPERATORS = {
    404: ("There is nothing here", "Check the address, or look for it from the overview."),
    405: (
        "This page can’t be opened again",
        "It was the answer to a button, and was shown once. What the button did stays done.",
    ),
    414: ("This address is too long", "Check the address, or look for it from the overview."),
}


def note(error: BaseException) -> str:
    """Log `error` under a new reference number and return that. What people typed is never in the log."""
    reference = secrets.token_hex(4)
    # The text of a database error can hold the values of its statement: only its kind and place are logged.
    log.error("fault", reference=reference, kind=type(error).__name__, where=_place(error))
    return reference


def _place(error: BaseException) -> list[str]:
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/portal/')[2]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return places[-12:]
