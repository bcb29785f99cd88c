"""The vendor's backend for these tests."""

from tests.backend import *  # noqa: F403 - fixtures
