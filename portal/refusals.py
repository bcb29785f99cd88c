"""Refusals: facts that stop a use case, each carrying its sentence for the person who reads it."""

from __future__ import annotations


class Refusal(Exception):
    """Base of every refusal. `status` is the HTTP status; `title` a heading; `message` what happened and what to do."""

    status = 400
    title = "That didn't work"
    is_unknown = False

    def message(self) -> str:
        """One or two sentences in plain words."""
        said: str = self.args[0] if self.args else self.title
        return said

    def __str__(self) -> str:
        return str(self.message())


class Unknown(Refusal):
    """What is asked for by its name or id isn't there: it never was, is gone, or stands in the other environment."""

    status = 404
    is_unknown = True
