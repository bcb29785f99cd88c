"""Addresses as they may be shown: where to, but not what opens the door there."""

from __future__ import annotations

import pytest

from portal.http.addresses import without_secrets


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("", ""),
        ("https://hooks.example/x", "https://hooks.example/x"),
        ("https://hooks.example/x?token=SECRET", "https://hooks.example/x?token=…"),
        ("https://hooks.example/?a=SECRET&b=SECRET&c=", "https://hooks.example/?a=…&b=…&c="),
        ("https://hooks.example/?SECRET", "https://hooks.example/?…"),
        ("https://hooks.example/?a=SECRET&SECRET", "https://hooks.example/?a=…&…"),
        ("https://hooks.example/?=SECRET", "https://hooks.example/?=…"),
        ("https://ada:SECRET@hooks.example/x", "https://…@hooks.example/x"),
        ("https://ada:SE@CRET@hooks.example/x", "https://…@hooks.example/x"),
        ("postgresql+psycopg://SECRET@db/portal?password=SECRET", "postgresql+psycopg://…@db/portal?password=…"),
        ("https://a.example/?k=SECRET https://b.example", "https://a.example/?k=… https://b.example"),
        ("https://hooks.example/a@b", "https://hooks.example/a@b"),
    ],
)
def test_an_address_is_shown_without_what_is_secret_in_it(address, shown):
    assert without_secrets(address) == shown
