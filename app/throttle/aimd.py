"""A rate that gives way at once and comes back slowly: additive increase, multiplicative decrease, with jitter. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Any

LEAST = 1.0  # moves a second: a stage never stops altogether, else nothing would show that the pressure is gone
KEPT = (0.5, 0.7)  # of what was done, under pressure; by chance, so that stages do not give way and come back together
STEPS = 20  # from nothing to the rate at which the pressure came
QUIET = 6  # ticks without pressure, after which a step is twice as large, and so on
MOST_DOUBLINGS = 32  # beyond any rate; the power must not overflow
BINDING = 0.8  # of the rate that is done: below that it is not the rate that holds the stage back
LIFTED_AFTER = 12  # quiet ticks in which the rate held nothing back


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The rate of one stage; None: no bound."""

    rate: float | None = None
    ceiling: float = 0.0  # at which the pressure came last
    quiet: int = 0  # ticks since then
    idle: int = 0  # of these, in which the rate held nothing back

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> Pace:
        """From what the ledger has."""
        return cls(**values)

    def to_record(self) -> dict[str, Any]:
        """As the ledger keeps it."""
        return asdict(self)

    @property
    def bound(self) -> int | None:
        """Whole moves a second."""
        return None if self.rate is None else max(1, int(self.rate))


def pressed(pace: Pace, *, done: float, chance: Random) -> Pace:
    """The pace after a tick under pressure, in which *done* moves a second came through."""
    reached = done if pace.rate is None else min(pace.rate, max(done, LEAST))
    rate = max(LEAST, reached * chance.uniform(*KEPT))
    return Pace(rate=rate if pace.rate is None else min(rate, pace.rate), ceiling=max(reached, LEAST))


def relieved(pace: Pace, *, done: float, chance: Random) -> Pace:
    """The pace after a tick without pressure."""
    if pace.rate is None or pace.bound is None:
        return pace
    quiet = pace.quiet + 1
    if done < BINDING * pace.bound:  # workers go by whole moves: of 1.9 a second one is all that they may
        idle = pace.idle + 1
        return Pace() if idle >= LIFTED_AFTER else replace(pace, quiet=quiet, idle=idle)
    step = max(LEAST, pace.ceiling / STEPS) * 2.0 ** min(quiet // QUIET, MOST_DOUBLINGS)
    return replace(pace, rate=pace.rate + step * chance.uniform(0.5, 1.5), quiet=quiet, idle=0)
