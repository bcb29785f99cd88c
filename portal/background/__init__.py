"""Background work: a thin wrapper around DBOS Transact, so that rules can enqueue without knowing the engine."""

from portal.background.engine import is_running, launch, migrate, stop
from portal.background.work import (
    Queue,
    StepFailed,
    continuous,
    durable,
    ended_work,
    enqueue,
    forget_work,
    hourly,
    minutely,
    patiently,
    step,
)

__all__ = [
    "Queue",
    "StepFailed",
    "continuous",
    "durable",
    "ended_work",
    "enqueue",
    "forget_work",
    "hourly",
    "is_running",
    "launch",
    "migrate",
    "minutely",
    "patiently",
    "step",
    "stop",
]
