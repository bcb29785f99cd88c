"""Logging: structlog, readable on a terminal, JSON in production."""

from __future__ import annotations

import logging
import sys

import structlog

from portal.settings import Settings


def configure(settings: Settings) -> None:
    """Set up logging for this process."""
    as_json = settings.is_production if settings.log_json is None else settings.log_json
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
