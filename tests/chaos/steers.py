"""What holds a run back in a round: the operator's probe says no for a while, the store asks to slow down; and that it is heard."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.plan import SLOW, Rates

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.deployment import Deployment
    from tests.chaos.door import FaultyDoor
    from tests.chaos.evidence import Evidence

HEARD_SECONDS = 30.0  # until ledger, reconciler and workers have heard of something, with leases that end by themselves
POLL_SECONDS, STILL_SECONDS = 0.1, 1.0


@dataclass(frozen=True, slots=True)
class Steers:
    """Steers one round's run by `rekey set`, which is refused while a server is away, and when the run has ended."""

    deployment: Deployment
    evidence: Evidence
    door: FaultyDoor
    seed: int

    def rest(self) -> bool:
        """The operator's probe says no, and nobody takes a move in hand until it says yes (H17); gives whether the run came to rest."""
        if not self._set("probe_sql=SELECT false"):
            return False
        try:
            rested = self._heard(self.evidence.rests)
            if rested:
                assert self._heard(lambda: not self.evidence.leased()), "the run rests, and moves are in hand still"
                time.sleep(STILL_SECONDS)
                assert not (self.evidence.rests() and self.evidence.leased()), "moves are taken in hand while the run rests"
        finally:
            assert self._heard(lambda: self._set("probe_sql=") or self.evidence.ended()), "the probe could not be taken away"
        return rested

    def slow_down(self, *, after: Rates | None) -> bool:
        """The store asks to slow down until a stage does; gives whether one did. *after*: what the network does from then on.

        That the operator takes no notice any more lets the round end soon.
        """
        if not self._set("adapt=true"):
            return False
        self.door.arm(Rates(SLOW, 0.0, 0.0), seed=self.seed)
        slowed = self._heard(self.evidence.slowed)
        if after is not None:
            self.door.arm(after, seed=self.seed)
        else:
            self.door.disarm()
        assert self._heard(lambda: self._set("adapt=false") or self.evidence.ended()), "the rates could not be lifted"
        return slowed

    def _set(self, knob: str) -> bool:
        return self.deployment.rekey("set", knob).status == 0

    @staticmethod
    def _heard(what: Callable[[], object]) -> bool:
        end = time.monotonic() + HEARD_SECONDS
        while not (found := what()) and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        return bool(found)
