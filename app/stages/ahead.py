"""More requests of one task under way at once, where the machine has room: what a far store gets done is bounded by them.

Reads ahead: while a task waits for a write, the store sends it the next object already. The bytes that were read are written under the
conditions that they would be written under anyway, only a request later. Looks: a task sends several HEADs before it takes their answers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from app.ledger.records import Move
from app.looks import AT_ONCE, Borrow, Looks, look
from app.spacing import is_spaced
from app.stages.context import Batch, Context

A_TASK = 2  # requests: a write, and the read of what comes next
MOST_LOOKS = 256  # of one process: as many connections, each a file and some kilobytes


def most_requests(concurrency: int) -> int:
    """How many a process has under way whose stages run *concurrency* tasks: as many connections are worth keeping."""
    return max(A_TASK * concurrency, min(AT_ONCE * concurrency, MOST_LOOKS))


def look_at(context: Context, stage: str, keys: Collection[str], *, attributes: Collection[str] = ()) -> Looks:
    """``app.looks.look`` by one of *stage*'s tasks: with the places that are free beside its own, and what is known of the store."""
    return look(context.store, keys, clock=context.clock, attributes=attributes, borrow=_places(context, stage), costs=context.costs)


def _places(context: Context, stage: str) -> Borrow:
    @contextmanager
    def borrow(wanted: int) -> Iterator[int]:
        lent = 0 if is_spaced() else context.crowd.lend(wanted, most=most_requests(context.concurrency(stage)))
        try:
            yield lent
        finally:
            context.crowd.give_back(lent)

    return borrow


@contextmanager
def ahead(batch: Batch, following: Move | None) -> Iterator[None]:
    """Begin the read of *following*'s object, if nobody needs the place for one more request; the block is the write before it."""
    context, stage = batch.context, batch.result.stage
    wanted = following is not None and following.new_key and not following.same_object and not is_spaced()
    if following is None or not wanted or not context.crowd.lend(1, most=A_TASK * context.concurrency(stage)):
        yield
        return
    context.store.read_ahead(following.old_key)
    try:
        yield
    finally:
        context.crowd.give_back(1)
