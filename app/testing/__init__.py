"""For tests of the stages, and of programs built on them: an object store in memory, and what makes it fail on demand."""

from __future__ import annotations

from app.testing.clocks import ClockDeadline, FixedDeadline, ManualClock
from app.testing.faults import DelayedRequest, Fault, Faults
from app.testing.memory_store import InMemoryStore
from app.testing.versions import Behaviour, StoredVersion

__all__ = [
    "Behaviour",
    "ClockDeadline",
    "DelayedRequest",
    "Fault",
    "Faults",
    "FixedDeadline",
    "InMemoryStore",
    "ManualClock",
    "StoredVersion",
]
