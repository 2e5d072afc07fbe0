"""Hand-overs to the next stage, gathered: tasks that end at about the same time share its messages.

A message costs a stage a dozen statements and its looks, however many moves it names, and a page of a listing serves many. So what a
hundred small copy tasks get done is worth gathering. Nothing waits for company that may not come: the last task that runs in this
process sends all there is, also when the worker stops. What a killed process had gathered is hinted again by the reconciler.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.ledger.records import Run
from app.pipeline import MoveStage

# A hundred tasks work on neighbours at the same time and end in any order. So the first full message goes when as many moves again are
# there: the more are gathered, the closer together the keys of a message lie, and the more of them one page of a listing shows.
RESERVE = 1
WAIT_SECONDS = 8.0  # for others, after which the next task that ends sends what there is: well below HINT_SECONDS


@dataclass(slots=True, kw_only=True)
class _Gathered:
    run: Run
    stage: MoveStage
    size: int  # most moves a message
    since: float
    ids: list[int] = field(default_factory=list)


class HandOver:
    """What the tasks of this process have got done and not yet sent on; safe for threads."""

    def __init__(self, send: Callable[[Run, MoveStage, Sequence[int]], object]) -> None:
        """Send by *send*, which must not be waited for under a lock."""
        self._send = send
        self._lock = threading.Lock()
        self._working = 0
        self._gathered: dict[tuple[str, str], _Gathered] = {}

    def add(self, run: Run, stage: MoveStage, ids: Sequence[int], *, size: int) -> None:
        """Keep *ids* for *stage*, *size* at most a message; call it within ``working``, whose end sends them, or leaves them to another."""
        with self._lock:
            fresh = _Gathered(run=run, stage=stage, size=size, since=time.monotonic())
            waiting = self._gathered.setdefault((run.id, stage.name), fresh)
            waiting.size = size
            waiting.ids += ids

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around one task's work."""
        with self._lock:
            self._working += 1
        try:
            yield
        finally:
            with self._lock:
                self._working -= 1
                messages = self._take()
            for run, stage, ids in messages:
                self._send(run, stage, ids)

    def _take(self) -> list[tuple[Run, MoveStage, list[int]]]:
        """Messages to send now: full ones but for a reserve; all, if nobody is left to send it, or it has waited long enough."""
        messages: list[tuple[Run, MoveStage, list[int]]] = []
        for key, waiting in list(self._gathered.items()):
            ids, size = sorted(waiting.ids), waiting.size
            everything = self._working == 0 or time.monotonic() - waiting.since > WAIT_SECONDS
            end = len(ids) if everything else max(0, len(ids) // size - RESERVE) * size
            messages += [(waiting.run, waiting.stage, ids[start : min(start + size, end)]) for start in range(0, end, size)]
            if end:
                waiting.ids, waiting.since = ids[end:], time.monotonic()
            if not waiting.ids:
                del self._gathered[key]
        return messages
