"""Copies of one task whose requests are under way at the same time: each is begun, and what came of it is taken later, in the same order.

One after the other, each request is a wait that wakes the thread again, and a store on the same processors is woken for each as well: a GET
and a PUT of 4 KiB took 0.28 ms of this process and 1.4 of MinIO from sixteen tasks with one request each, 0.14 and 1.0 from four with
eight (docs/benchmarks.md). What is begun is a generator that yields once its write is sent; the code reads as if it waited there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from app.byte_budget import ByteBudget, SharedOut
from app.errors import ObjectError, UnansweredError
from app.ledger.records import Move, Outcome
from app.stages.batch import Batch
from app.stages.context import Context

Steps = Generator[None, None, Outcome]  # yields while a write is under way


@dataclass(slots=True)
class Together:
    """The copies of *batch* that are under way; as a block, all of them are over at its end."""

    batch: Batch
    largest: int = 0  # bytes of the objects that were copied
    _under_way: deque[tuple[Move, Steps]] = field(default_factory=deque)
    _alone: Context | None = None

    def __enter__(self) -> Self:
        """Whoever waits for room in memory, or parts with the others, ends what is under way first: it may hold what is waited for."""
        context = self._alone = self.batch.context
        if isinstance(context.budget, ByteBudget):
            self.batch.context = replace(context, budget=SharedOut(context.budget, self.finish))
        self.batch.end_others = self.finish
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End what is under way, whatever the block was left for; a worker that is killed ends nothing."""
        try:
            if error is None:
                self.finish()
            elif isinstance(error, Exception):
                self._finish()  # what ended the block counts
        finally:
            if self._alone is not None:
                self.batch.context = self._alone
            self.batch.end_others = None

    def begin(self, move: Move, steps: Steps) -> None:
        """Go on with *move* until its write is under way, or it has its outcome."""
        if self._go(move, steps):
            self._under_way.append((move, steps))

    @property
    def under_way(self) -> int:
        """How many copies are begun and have no outcome yet."""
        return len(self._under_way)

    def finish(self) -> None:
        """Take what came of all that is under way; then raise what went wrong first."""
        trouble = self._finish()
        if trouble is not None:
            raise trouble

    def _finish(self) -> Exception | None:
        trouble: Exception | None = None
        while self._under_way:
            move, steps = self._under_way.popleft()
            try:
                while self._go(move, steps):
                    pass
            except Exception as error:  # noqa: BLE001 - raised by ``finish``, once the answers of the others are taken
                trouble = trouble or error
        return trouble

    def _go(self, move: Move, steps: Steps) -> bool:
        """One step; False: *move* has its outcome."""
        batch = self.batch
        try:
            next(steps)
        except StopIteration as done:
            outcome: Outcome = done.value
        except ObjectError as error:
            outcome = batch.refused(move, error)
        except UnansweredError as error:
            batch.unanswered(move, error)
            raise
        else:
            return True
        if outcome.move.source is not None:
            self.largest = max(self.largest, outcome.move.source.size)
        batch.add(outcome, say="waiting" if outcome.move.waiting else None)
        return False
