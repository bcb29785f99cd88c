"""Fixtures for the install page over Flask's test client."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from tests.backend import *  # noqa: F403 - fixtures
from tests.install_page import InstallPage
from tests.stage import Made


@pytest.fixture
def install_page(app: Flask, link: Made) -> InstallPage:
    """The page of a fresh link for Magento."""
    return InstallPage(app, link)


@pytest.fixture
def page_of(app: Flask) -> Callable[..., InstallPage]:
    """The page of any link."""
    return lambda made, **options: InstallPage(app, made, **options)
