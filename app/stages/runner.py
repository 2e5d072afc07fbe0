"""The frame around a stage's work: claim, act in chunks for a few seconds, record, give the rest back (design section 6).

A move whose lease was once lost without outcome is a suspect and runs alone in the whole run (H28).
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Protocol

from app.errors import DatabaseUnavailableError, ExpiredRequestError, LeaseLostError, StoreUnavailableError, UnansweredError
from app.ledger.records import Run
from app.spacing import spaced
from app.stages.ahead import places
from app.stages.batch import TASK_SECONDS, Batch, Result
from app.stages.cancelling import CancelMoves
from app.stages.context import Context
from app.stages.crowd import Place
from app.stages.outages import OUTAGES
from app.stages.outcomes import failed
from app.states import RunState

GIVE_BACK_SECONDS = 1.0
FEW = 50  # moves that each task may hold; the more of a larger claim wait until there is room, so that a hundred tasks stay small
LAST = "delete"  # its looks go on in a cancelled run; and they are not bounded by the rate that was set for it, which it keeps itself
CHUNK_SECONDS = 0.5  # of a bounded rate, so that it is kept evenly
SLOWED_CHUNK_SECONDS = 2.0  # of one that was decided: its requests go as far apart as that gives, and the fewer chunks the fewer requests
TURN_PATIENCE_SECONDS = 3.0  # a task waits so long for its turn at least, and gives its moves back where that is further off
LONGEST_PATIENCE_SECONDS = 30.0
DEFER_SECONDS = 3.0
LONGEST_OUTAGE_SECONDS = 600.0
RETRY_SECONDS = 2.0  # an outage is tried again about so soon


class Work(Protocol):
    """What a stage does: act on some of the batch's moves, giving each an outcome with ``batch.add`` or ``batch.done``."""

    @property
    def chunk(self) -> int:
        """Moves a claim and an act."""

    def act(self, batch: Batch) -> None:
        """Take up to ``chunk`` of ``batch.left`` and do the stage's work on them."""


class StoppedError(LeaseLostError):
    """The worker is asked to stop: the request that would have come next is not sent."""


def run_stage(stage: str, work: Work, run: Run, ids: Sequence[int], *, context: Context) -> Result:
    """Do one message's work: those of *ids* that are due for *stage*; whatever else the message names is left to the ledger (S6).

    Safe to repeat: a move that somebody else holds, or that is past the stage, is not touched.

    Raises:
        DatabaseUnavailableError: The ledger did not answer; leases that could not be given back end by themselves.
    """
    result = Result(stage=stage)
    if run.state is RunState.CANCELLED and run.is_live:
        work = work if stage == LAST else CancelMoves()
    elif run.state is not RunState.RUNNING:
        result.counts[f"ignored: run {run.state}"] = len(ids)
        return result
    size = min(len(ids), context.pace.size(stage, chunk=work.chunk))
    # These waits are not the task's own time; that for a place ends, with what follows it, before the message would come a second time.
    patience = context.settings.visibility_timeout_seconds / 2
    room = context.room.hold(size - FEW) if size > FEW else nullcontext()
    most, own = context.concurrency(stage), places(context, run, stage)
    with room, context.crowd.place(seconds=patience, stopping=context.stopping, size=own, kind=stage, most=most) as place:
        if place is not None:
            _work_through(stage, work, run, ids, context=context, result=result, place=place)
        else:
            result.again += ids
    return result


def _work_through(stage: str, work: Work, run: Run, ids: Sequence[int], *, context: Context, result: Result, place: Place) -> None:
    started = context.clock.boot()
    start = 0
    while start < len(ids):
        rate, decided = _rates(stage, run, context)
        size = context.pace.size(stage, chunk=work.chunk)
        if rate:
            size = min(size, max(1, int(rate * (SLOWED_CHUNK_SECONDS if decided else CHUNK_SECONDS))))
        chunk = ids[start : start + size]
        if start and (context.stopping() or not context.watch.still(run) or context.clock.boot() - started > TASK_SECONDS):
            result.again += ids[start:]  # not claimed at all: a claim that is only given back costs as much as one that is used
            break
        if rate and not _turn(stage, run, chunk, rate=rate, context=context):
            context.moves.defer(run, ids[start:], stage=stage, seconds=DEFER_SECONDS)
            result.counts["held back by the rate"] += len(ids) - start
            break
        outcomes, failed, taken = result.outcomes, result.failed, result.taken
        result.outage = None
        try:
            _do(stage, work, run, chunk, context=context, result=result, started=started, place=place)
        except OUTAGES as error:  # before there was a batch: the store was asked for its time
            result.outage = error
            raise
        finally:
            taken = result.taken - taken
            context.note(run, stage, outcomes=result.outcomes - outcomes, failed=result.failed - failed, taken=taken)
            context.see(run, stage, outage=result.outage, taken=taken)
            if rate and taken < len(chunk):
                context.steering.give_back(run, stage=_line(stage), moves=len(chunk) - taken, rate=rate)
        start += len(chunk)


def _rates(stage: str, run: Run, context: Context) -> tuple[int, int]:
    """Most moves of *stage* that may be taken up a second, and what of it the reconciler has decided; 0: no bound."""
    decided = (context.watch.rate(run, stage) or 0) if run.state is RunState.RUNNING else 0
    wished = 0 if stage == LAST else int(getattr(context.settings, f"{stage}_rate", 0))
    return min((bound for bound in (wished, decided) if bound), default=0), decided


def _line(stage: str) -> str:
    """In which the stage's chunks stand for their turn; the last one's deletes stand in a line of their own, after their looks."""
    return "look" if stage == LAST else stage


def _do(stage: str, work: Work, run: Run, ids: Sequence[int], *, context: Context, result: Result, started: float, place: Place) -> None:
    """A chunk, its requests as far apart as the rate that was decided asks for: in a burst, a few are too many for the store."""
    decided, taken = _rates(stage, run, context)[1], result.taken
    apart = len(ids) / decided / context.pace.requests(stage, len(ids)) if decided else 0.0
    with spaced(apart) as sent:
        if not _claim_and_act(stage, work, run, ids, context=context, result=result, started=started, place=place):
            _run_suspects(stage, work, run, ids, context=context, result=result, started=started)
    context.pace.learn_requests(stage, moves=result.taken - taken, requests=sent.requests)


def _turn(stage: str, run: Run, chunk: Sequence[int], *, rate: int, context: Context) -> bool:
    """Wait for this chunk's turn under the stage's rate; False where that is too far off to wait for."""
    # As long as until the reconciler sends those again that were given back, and a little more: else nobody stood in line before that.
    patience = min(max(TURN_PATIENCE_SECONDS, context.settings.reconcile_seconds + 1.0), LONGEST_PATIENCE_SECONDS)
    wait = context.steering.turn(run, stage=_line(stage), moves=len(chunk), rate=rate, patience=patience)
    if wait > patience:
        return False
    if wait > 0:
        context.wait(wait)
    return not context.stopping() and context.watch.still(run)


def _claim_and_act(
    stage: str,
    work: Work,
    run: Run,
    ids: Sequence[int],
    *,
    context: Context,
    result: Result,
    started: float,
    alone: Callable[[], bool] | None = None,
    place: Place | None = None,
) -> bool:
    store_time = context.store.store_time()  # asked before the claim: only then does it bound what was there before us (H12)
    lease_seconds = context.settings.lease_seconds
    lease, claimed = context.moves.claim(
        run, ids, stage=stage, lease_seconds=lease_seconds, store_time=store_time, clock=context.clock, suspects=alone is not None
    )
    batch = Batch(run, lease, claimed, context=context, result=result, started=started, alone=alone or (lambda: True), place=place)
    try:
        if claimed:
            _act(work, batch)
    except DatabaseUnavailableError:
        _record_later(batch)
        raise
    finally:
        context.moves.forget(lease)
    if claimed and not context.stopping():
        context.pace.learn(stage, claimed=len(claimed), given_back=batch.given_back)
    return bool(claimed)


def _record_later(batch: Batch) -> None:
    """The ledger did not answer: try for a while to record what was done, and to give all moves back.

    So an outage makes no suspects of them (S8), and no copy is left without a record: once the application has overwritten the source,
    nothing else would show that it is ours (H12).
    """
    end = batch.context.clock.boot() + LONGEST_OUTAGE_SECONDS  # past the lease: as long as the token stands, nobody has taken over
    while batch.context.clock.boot() < end and not batch.context.stopping():
        time.sleep(GIVE_BACK_SECONDS)
        try:
            batch.flush()
            batch.context.moves.give_up(batch.lease, due_in=batch.context.settings.request_timeout_seconds)
        except DatabaseUnavailableError:
            continue
        return


def _act(work: Work, batch: Batch) -> None:
    claimed = len(batch.left)
    try:
        while batch.left and not batch.time_is_up:
            work.act(batch)
            batch.flush_sometimes()
        batch.flush()
        batch.give_back(hinted=True)
    except UnansweredError as error:
        batch.result.outage = error
        # The move whose request is unanswered keeps its lease to the end: it may still be carried out (S7). The others go back.
        batch.flush()
        batch.give_back(due_in=_soon())
    except StoppedError:
        batch.flush()
        batch.give_back(hinted=True)
    except (StoreUnavailableError, ExpiredRequestError, LeaseLostError) as error:
        if isinstance(error, OUTAGES):
            batch.result.outage = error
        batch.flush()
        batch.give_back(due_in=_soon())
        batch.result.counts[type(error).__name__.removesuffix("Error")] += 1
    except DatabaseUnavailableError:
        raise
    except Exception as error:
        # A fault of ours. In a batch, the lost lease makes each move run alone; alone, it is this move's recorded error (H28).
        if claimed == 1 and batch.left:
            batch.add(failed(batch.left[0], f"{type(error).__name__}: {error}", settings=batch.context.settings))
            batch.flush()
        raise


def _soon() -> float:
    return RETRY_SECONDS * (1 + random.random())  # noqa: S311 - spreads the retries of many workers


def _run_suspects(stage: str, work: Work, run: Run, ids: Sequence[int], *, context: Context, result: Result, started: float) -> None:
    suspects = [move.id for move in context.moves.load(run, ids) if move.suspect]
    token = secrets.token_hex(8)

    def alone() -> bool:
        return context.runs.take_suspects(run, token=token, seconds=context.settings.lease_seconds)

    for number, move_id in enumerate(suspects):
        if not alone() or context.stopping() or context.clock.boot() - started > TASK_SECONDS:
            context.moves.unhint(run, suspects[number:])  # due at the reconciler's next tick
            result.counts["suspects left for later"] += len(suspects) - number
            break
        _claim_and_act(stage, work, run, [move_id], context=context, result=result, started=started, alone=alone)
    if suspects:
        context.runs.leave_suspects(run, token=token)
