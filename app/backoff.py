"""How long to wait before a call inside a batch is tried again. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_MAX_DOUBLINGS = 64  # beyond any cap; keeps the power from overflowing


def delay(attempt: int, *, base: float, cap: float, jitter: random.Random | None) -> float:
    """Seconds to wait before attempt *attempt* (the first repetition is 1): *base* doubled each time, at most *cap*.

    With *jitter* the wait is drawn evenly from its upper half, so that workers that failed together do not come back together.
    """
    whole = min(cap, base * 2.0 ** min(max(attempt - 1, 0), _MAX_DOUBLINGS))
    return whole if jitter is None else jitter.uniform(whole / 2, whole)
