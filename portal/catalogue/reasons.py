"""Why a provider's answer means that a credential doesn't hold."""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """What was wrong with the answer."""

    unauthorized = "unauthorized"
    forbidden = "forbidden"
    not_found = "not_found"
    rate_limited = "rate_limited"
    provider_error = "provider_error"
    not_json = "not_json"
    redirected = "redirected"
    unexpected = "unexpected"
