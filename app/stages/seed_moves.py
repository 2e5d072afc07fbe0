"""The seed: a page of rows becomes ledger rows, whose copies are then enqueued; passes until one plans nothing (H27, H33).

Never holds more than a page, never sleeps: above MAX_IN_FLIGHT it stops and the reconciler starts it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.ledger.ladders import Ladder
from app.ledger.records import Run
from app.planning import Plan
from app.stages.ahead import COPY, look_at, places
from app.stages.context import Context
from app.stages.noting import drop_mark, mark_journal
from app.stages.seed_pages import count_unseen, is_full, next_page
from app.stages.seed_rollback import plan_page
from app.states import RunKind, RunState

SEED = "seed"  # this stage
MAX_PASSES = 3
HELD_ROWS = 1000  # of all messages that a worker works on at once: if it dies, each of their moves runs alone (H28);
WORTH_ROWS = 50  # but so many a message may always have: each costs the worker some milliseconds besides
BATCHES_A_TASK = 8  # of one worker that are at work at once; so a small run's stages work side by side, and a second worker finds some


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """What one page gave: ``batches`` of moves to copy, and whether the seed goes on at once."""

    summary: str
    batches: list[list[int]] = field(default_factory=list)
    more: bool = False


def seed_moves(run: Run, *, context: Context) -> Seeded:
    """Plan the next page of *run*. Safe to repeat: the cursor moves by compare-and-swap, and a page is planned whole or not at all."""
    if run.state is not RunState.RUNNING or run.seed_done:
        return Seeded(summary="nothing to plan" if run.seed_done else f"ignored: run {run.state}")
    held = _held(run, context)
    if held is not None:
        context.plans.seed_due_now(run)
        return Seeded(summary=f"held: {held}")
    if run.kind is RunKind.ROLLBACK:
        summary, ids = plan_page(run, context=context)
        context.in_flight.add(len(ids or []))
        return Seeded(summary=summary, batches=split(ids or [], size=batch_size(run, 0, context)), more=ids is not None)
    ladder = context.ladders.find(run)  # after the run was read: a page of a step that is over by now is refused by its pass
    page = next_page(run, ladder, context=context)
    if not page.rows and page.beyond is None:
        return _end_of_pass(run, ladder, context)
    # Numbered in the order of their new keys: a batch's targets then lie side by side, and one page of a listing shows many (app.looks).
    plans = sorted(page.plans, key=lambda plan: plan.new_key)
    in_place = _seen_in_place(context, plans)
    first = _is_first(run, ladder) and any(plan.row_id not in in_place for plan in plans)
    mark = mark_journal(run, context) if first else None  # not before there is something to move: a second run writes nothing (S9)
    cursor = page.rows[-1].row_id if page.beyond is None else page.beyond
    planned = context.plans.insert_page(
        run, plans, in_place=in_place, cursor=cursor, grace_seconds=context.settings.grace_seconds, in_step=ladder is not None, mark=mark
    )
    if planned is None:
        drop_mark(mark, context)
        return Seeded(summary="another seed was faster")
    context.in_flight.add(len(planned.copy_ids))
    batches = split(planned.copy_ids, size=batch_size(run, planned.examined, context))
    return Seeded(summary=f"pass {run.seed_pass}: {len(planned.copy_ids)} of {len(page.rows)} rows planned", batches=batches, more=True)


def _held(run: Run, context: Context) -> str | None:
    """Why nothing is planned just now."""
    if run.rates.get(SEED) == 0:  # as the reconciler has decided (app.throttling)
        return "the queues are full"
    most = context.settings.max_in_flight
    moves = context.in_flight.find(lambda: context.queues.in_flight(run), most=most, now=context.clock.boot())
    return f"{moves} moves are in flight" if moves >= most else None


def _is_first(run: Run, ladder: Ladder | None) -> bool:
    """Whether no move of the run was planned yet."""
    if ladder is not None:
        return ladder.planned + ladder.planned_before == 0
    return run.seed_pass == 1 and not run.seed_planned


def _end_of_pass(run: Run, ladder: Ladder | None, context: Context) -> Seeded:
    late = run.seed_planned > 0
    first = 1 if ladder is None else ladder.first_pass
    last = run.seed_pass if is_full(ladder) else first + MAX_PASSES - 1
    if not late or run.seed_pass >= last:  # counted before the seed is over: a crash must leave no run that looks complete
        context.runs.set_unseen(run, count_unseen(run, ladder, late=late, context=context))
    more = context.plans.end_pass(run, max_passes=last)
    return Seeded(summary=f"pass {run.seed_pass} is over" + ("" if more else ", seeding is done"), more=more)


def _seen_in_place(context: Context, plans: Sequence[Plan]) -> set[str]:
    """Rows at their new key already whose object is there; where it is not, the copy stage looks again and parks (H33)."""
    at = {plan.new_key: plan.row_id for plan in plans if plan.in_place and plan.reason is None}
    if not at:
        return set()
    looks = look_at(context, SEED, at)
    return {plan.row_id for plan in plans if plan.in_place and looks.found.get(plan.new_key) is not None}


def batch_size(run: Run, page_rows: int, context: Context) -> int:
    """Copies a message: BATCH_SIZE, or fewer where the run is small, or many of a worker's tasks are at work at once.

    Of all messages that a worker takes only some are at work (app.stages.ahead): together about HELD_ROWS, so that blocks of neighbours,
    which are handed on when their last one is done (tasks.hand_over), are whole soon.
    """
    rows = max(run.rows_estimate, page_rows, 1)
    tasks = context.settings.copy_concurrency // places(context, run, COPY)
    return max(1, min(context.settings.batch_size, max(WORTH_ROWS, HELD_ROWS // tasks), rows // (BATCHES_A_TASK * tasks)))


def split(ids: Sequence[int], *, size: int) -> list[list[int]]:
    """*ids* in runs of *size*."""
    return [list(ids[start : start + size]) for start in range(0, len(ids), size)]
