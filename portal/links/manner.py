"""How a link is to be shown and done, as the vendor's page said it; read-only, kept with the link."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Manner(BaseModel):
    """`operation`: install anew, edit what is installed (its versions stay), or update it to the newest versions.

    With `is_only_new` the page asks for no setting that the installation has an answer to.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    title: str = ""
    is_hidden: bool = False
    operation: Literal["install", "edit", "update"] = "install"
    is_only_new: bool = False
    version_ids: tuple[str, ...] = ()
    output_override: tuple[Any, ...] = ()
    credential_ids: tuple[str, ...] = ()  # those that are chosen already
