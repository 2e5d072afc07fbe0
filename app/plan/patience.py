"""A store or a database that is busy for a while must not cost an hour's plan."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from app import backoff
from app.errors import TransientError

TRIES = 6
_JITTER = random.Random()  # noqa: S311 - spreads retries, keeps no secret
_Result = TypeVar("_Result")


def patiently(call: Callable[[], _Result]) -> _Result:
    """What *call* gives, tried again while what hinders it is of the moment; some 15 seconds in all."""
    for attempt in range(1, TRIES):
        try:
            return call()
        except TransientError:
            time.sleep(backoff.delay(attempt, base=0.5, cap=10.0, jitter=_JITTER))
    return call()
