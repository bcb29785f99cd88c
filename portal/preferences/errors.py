"""Why a setting can't be what was typed."""

from __future__ import annotations

from collections.abc import Mapping

from portal.refusals import Refusal, Unknown


class BadPreferences(Refusal):
    """Some values can't be: `problems` has a sentence for each, by the setting's name."""

    status = 422
    title = "Nothing was saved"

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("Mend what is marked below, then save again.")
        self.problems = dict(problems)


class BadLogo(Refusal):
    """The file isn't a picture that pages may show."""

    status = 422
    title = "This file can’t be the logo"


class UnknownLogo(Unknown):
    """No logo by that name."""

    title = "No such logo"
