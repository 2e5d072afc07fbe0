"""Reads ahead: while a task waits for a write, the store sends it the next object already.

A copy by the worker takes two round trips, and what a far store gets done is bounded by the requests under way. The bytes that were read
are written under the conditions that they would be written under anyway, only a request later.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.ledger.records import Move
from app.spacing import is_spaced
from app.stages.context import Batch

A_TASK = 2  # requests: a write, and the read of what comes next


@contextmanager
def ahead(batch: Batch, following: Move | None) -> Iterator[None]:
    """Begin the read of *following*'s object, if nobody needs the place for one more request; the block is the write before it."""
    context, stage = batch.context, batch.result.stage
    wanted = following is not None and following.new_key and not following.same_object and not is_spaced()
    if following is None or not wanted or not context.crowd.lend(most=A_TASK * context.concurrency(stage)):
        yield
        return
    context.store.read_ahead(following.old_key)
    try:
        yield
    finally:
        context.crowd.give_back()
