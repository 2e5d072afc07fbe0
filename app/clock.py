"""The clock that leases are kept by: this machine's time since boot, sleep included.

Wall clocks jump and differ between machines; a lease needs only the *rate* of a clock (S7, H16).
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds that only go forward; comparable within one boot of one machine."""

    def boot(self) -> float:
        """Seconds since this machine was started, time asleep or stopped included."""


class BootClock:
    """The real clock (CLOCK_BOOTTIME: goes on while the process is stopped or the machine sleeps)."""

    def boot(self) -> float:
        """Seconds since this machine was started, time asleep or stopped included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
