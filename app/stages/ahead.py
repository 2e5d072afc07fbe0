"""More requests of one task under way at once: those that it holds places for, and more where the machine has room.

Copies: a task has several of them under way together (app.stages.together). Reads ahead: while it waits for their writes, the store
sends it the next objects already. The bytes that were read are written under the conditions that they would be written under anyway, only
a request later. Looks: a task sends several HEADs before it takes their answers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from app.ledger.records import Move, Run
from app.looks import AT_ONCE, Borrow, Looks, look
from app.spacing import is_spaced
from app.stages.batch import Batch
from app.stages.context import Context
from app.states import RunKind

COPY = "copy"  # the stage that has several objects under way
TOGETHER = 10  # copies of one task: more of them cost a store on the same processors more a request than they save here
TASKS = 2  # that the places are for at least, so that one has requests under way while another one claims
A_TASK = 2  # requests for a place: a write, and the read of what comes next
MOST_LOOKS = 256  # of one process: as many connections, each a file and some kilobytes


def most_requests(concurrency: int) -> int:
    """How many a process has under way whose stages run *concurrency* tasks: as many connections are worth keeping."""
    return max(A_TASK * concurrency, min(AT_ONCE * concurrency, MOST_LOOKS))


def places(context: Context, run: Run, stage: str) -> int:
    """How many requests a task of *stage* has under way in its own right.

    One where the run's rate is bounded, so that they are evenly spread; and in a rollback, where several moves may go back to one object.
    """
    if stage != COPY or run.kind is RunKind.ROLLBACK or context.watch.rate(run, stage):
        return 1
    concurrency = context.concurrency(stage)
    return max(1, concurrency // max(TASKS, -(-concurrency // TOGETHER)))  # as many to each, so that none of the concurrency is left over


def look_at(context: Context, stage: str, keys: Collection[str], *, attributes: Collection[str] = (), own: int = 1) -> Looks:
    """``app.looks.look`` by one of *stage*'s tasks: with its *own* places, those that are free, and what is known of the store."""
    return look(context.store, keys, clock=context.clock, attributes=attributes, borrow=_places(context, stage, own), costs=context.costs)


def _places(context: Context, stage: str, own: int) -> Borrow:
    @contextmanager
    def borrow(wanted: int) -> Iterator[int]:
        mine = min(wanted, own - 1)
        with _lent(context, wanted - mine, most=most_requests(context.concurrency(stage))) as lent:
            yield mine + lent

    return borrow


@contextmanager
def more(batch: Batch, wanted: int) -> Iterator[int]:
    """Places for *wanted* more requests than *batch* has, as far as nobody needs them; gives how many."""
    with _lent(batch.context, wanted, most=most_requests(batch.context.concurrency(batch.result.stage))) as lent:
        yield lent


@contextmanager
def ahead(batch: Batch, following: Sequence[Move], *, reads: Callable[[Move], bool]) -> Iterator[None]:
    """Begin the reads of *following*'s objects, as far as nobody needs the places; the block is the writes before them."""
    context = batch.context
    with _lent(context, len(following), most=A_TASK * context.concurrency(batch.result.stage)) as lent:
        if lent:
            read_ahead(context, following[:lent], reads=reads)
        yield


@contextmanager
def _lent(context: Context, wanted: int, *, most: int) -> Iterator[int]:
    """Places for *wanted* more requests, of those that are free below *most*; none where requests are to go some way apart."""
    lent = 0 if is_spaced() or wanted <= 0 else context.crowd.lend(wanted, most=most)
    try:
        yield lent
    finally:
        context.crowd.give_back(lent)


def read_ahead(context: Context, moves: Sequence[Move], *, reads: Callable[[Move], bool]) -> int:
    """Begin the reads of the objects of the first of *moves*, and of no other; gives of how many moves, those that need none among them.

    *reads*: whether the worker reads the object of a move by itself.
    """
    read = [move for move in moves if reads(move)]
    begun = context.store.read_ahead([move.old_key for move in read])
    return len(moves) if begun == len(read) else moves.index(read[begun])
