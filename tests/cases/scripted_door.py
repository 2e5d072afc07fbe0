"""A door between a worker and its store that harms the very requests that a test names."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.chaos.door import FaultyDoor
from tests.chaos.plan import Rates

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.wire import Request

STALL = Rates({}, stall_seconds=3.5, late_seconds=0.0)


@dataclass
class _Planned:
    fault: str
    fits: Callable[[Request], bool]
    times: int


class ScriptedDoor(FaultyDoor):
    """Harms the requests that a test names, and no others."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self.planned: list[_Planned] = []
        self.harmed: list[Request] = []
        self._script = threading.Lock()

    def plan(self, fault: str, fits: Callable[[Request], bool], *, times: int = 1) -> None:
        """Let this befall the next such requests."""
        self.planned.append(_Planned(fault, fits, times))

    def draw(self, request: Request) -> tuple[Callable[[Any, Request], None], Rates] | None:
        """As scripted."""
        with self._script:
            for planned in self.planned:
                if planned.times and planned.fits(request):
                    planned.times -= 1
                    self.harmed.append(request)
                    return self._harm[planned.fault][1], STALL
        return None
