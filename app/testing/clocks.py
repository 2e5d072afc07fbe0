"""Time that a test sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.clock import Clock


class ManualClock:
    """A boot clock that stands still until it is told to go on."""

    def __init__(self, boot: float = 1000.0) -> None:
        self._boot = boot

    def boot(self) -> float:
        """Seconds since the boot that never was."""
        return self._boot

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if seconds < 0:
            raise ValueError("a boot clock only goes forward")
        self._boot += seconds


@dataclass(frozen=True, slots=True)
class FixedDeadline:
    """A lease that is always as far from its end."""

    seconds: float = 10.0

    def remaining(self) -> float:
        """The seconds given."""
        return self.seconds


class ClockDeadline:
    """A lease that ends by a clock."""

    def __init__(self, clock: Clock, *, seconds: float) -> None:
        self._clock = clock
        self._end = clock.boot() + seconds

    def remaining(self) -> float:
        """Seconds until the end, negative afterwards."""
        return self._end - self._clock.boot()
