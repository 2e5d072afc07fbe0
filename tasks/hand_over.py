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

IDLE_SECONDS = 2.0  # a block that nothing came to for so long goes as it is, with the next task that ends


@dataclass(slots=True, kw_only=True)
class _Block:
    run: Run
    stage: MoveStage
    size: int
    last: float  # when something came to it
    ids: list[int] = field(default_factory=list)


class HandOver:
    """What the tasks of this process have got done and not yet sent on, in blocks of neighbours; safe for threads."""

    def __init__(self, send: Callable[[Run, MoveStage, Sequence[int]], object]) -> None:
        """Send by *send*, which must not be waited for under a lock."""
        self._send = send
        self._lock = threading.Lock()
        self._working = 0
        self._blocks: dict[tuple[str, str, int, int], _Block] = {}

    def add(self, run: Run, stage: MoveStage, ids: Sequence[int], *, size: int) -> None:
        """Keep *ids* for *stage*, in blocks of *size*; call it within ``working``, whose end sends them, or leaves them to another.

        A block holds the ids between two multiples of its size: the seed numbers a page in the order of the new keys, so that a block's
        objects lie side by side, in whatever order a hundred tasks get them done.
        """
        now = time.monotonic()
        with self._lock:
            for move_id in ids:
                key = (run.id, stage.name, size, (move_id - 1) // size)
                block = self._blocks.setdefault(key, _Block(run=run, stage=stage, size=size, last=now))
                block.ids.append(move_id)
                block.last = now

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
                ready = self._take()
            for block in ready:
                self._send(block.run, block.stage, sorted(block.ids))

    def _take(self) -> list[_Block]:
        """Blocks to send now: full ones, and those that nothing came to for a while; all, if nobody is left to send them."""
        oldest = time.monotonic() - IDLE_SECONDS
        ready = [key for key, block in self._blocks.items() if self._working == 0 or len(block.ids) >= block.size or block.last < oldest]
        return [self._blocks.pop(key) for key in sorted(ready)]
