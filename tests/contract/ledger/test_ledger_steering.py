"""What an operator wishes of a run, on each database."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from app.database import MICROSECONDS
from app.ledger import waking
from app.ledger.records import Outcome
from app.ledger.reopening import Selection
from app.ledger.runs import RunLedger
from app.states import KeptReason, MoveState, ParkedReason, RunState
from tests.builders import make_plan, make_run

if TYPE_CHECKING:
    from app.ledger.records import Run
    from app.stages.context import Context


def _planned(context: Context, number: int) -> Run:
    run = make_run(context)
    plans = [make_plan(n, rules=context.rules) for n in range(1, number + 1)]
    context.plans.insert_page(run, plans, in_place=set(), cursor="x", grace_seconds=60)
    return run


def _set(context: Context, run: Run, sql: str) -> None:
    with context.moves.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE rekey_moves SET {sql} WHERE run_no = {run.no}")


def test_turns_of_all_workers_keep_the_rate_together(context: Context) -> None:
    """Reserved one after the other, however many ask at once."""
    run = make_run(context)
    waits: list[float] = []
    start = threading.Barrier(4)

    def take() -> None:
        start.wait()
        waits.extend(context.steering.turn(run, stage="copy", moves=10, rate=10, patience=100.0) for _ in range(3))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(waits) == 12
    assert max(waits) > 9  # twelve turns of a second each, none of them shared
    assert context.steering.turn(run, stage="copy", moves=1, rate=1, patience=0.0) > 9
    assert context.steering.turn(run, stage="rename", moves=1, rate=1, patience=0.0) == 0


def test_hastened_tick_passes_and_looks_like_no_jump_of_the_clock(context: Context) -> None:
    """However shortly before it the last one came; also to a reconciler that has seen no tick itself (H16)."""
    run = make_run(context)
    before = context.runs.read_clocks(context.clock)

    def tick() -> bool:
        return context.runs.take_tick(run, every_seconds=2.5, clocks=context.runs.read_clocks(context.clock), host="h")

    passed = [tick(), tick()]
    context.steering.hasten(run, seconds=5.0)
    newcomer = RunLedger(context.moves.engine)
    jump = newcomer.jump(context.runs.get(run.id), context.runs.read_clocks(context.clock), host="h")
    passed += [tick(), tick()]

    assert before.boot_us > 5 * MICROSECONDS, "a machine that was started just now: nothing to compare with"
    assert passed == [True, False, True, False]
    assert abs(jump) < 1


def test_deletes_are_granted_as_long_as_there_are_some_left(context: Context) -> None:
    """--max-deletes is taken off before the deletes are sent."""
    run = make_run(context)
    assert context.steering.take_deletes(run, 7).moves == 7
    context.steering.allow_deletes(run, 10)

    assert [context.steering.take_deletes(run, 7).moves for _ in range(3)] == [7, 3, 0]
    assert context.runs.get(run.id).deletes_left == 0


def test_deletes_that_were_not_sent_are_allowed_again_unless_the_bound_was_set_anew(context: Context) -> None:
    """What the operator says last counts: nothing is added to it for what was granted before."""
    run = make_run(context)
    unbounded = context.steering.take_deletes(run, 3)
    context.steering.allow_deletes(run, 10)
    first = context.steering.take_deletes(run, 7)
    context.steering.allow_deletes(run, 5)
    second = context.steering.take_deletes(run, 7)
    left = []
    for grant, unsent in ((unbounded, 3), (first, 7), (second, 2), (second, 1)):
        context.steering.give_deletes_back(run, grant, unsent)
        left.append(context.runs.get(run.id).deletes_left)
    context.steering.allow_deletes(run, None)
    context.steering.give_deletes_back(run, second, 1)

    assert left == [0, 0, 2, 3]
    assert context.runs.get(run.id).deletes_left is None


def test_knobs_are_laid_over_those_set_before(context: Context) -> None:
    """The run's record has them for every worker."""
    run = make_run(context)
    context.steering.set_knobs(run, {"copy_rate": 5, "batch_size": 7})
    context.steering.set_knobs(run, {"copy_rate": 9})

    assert context.runs.get(run.id).knobs == {"batch_size": 7, "copy_rate": 9}


def test_cancel_ends_planned_moves_in_pages_and_leaves_the_rest_due(context: Context) -> None:
    """What a worker holds is not touched, and what one has held may have been written: a worker has to look."""
    run = _planned(context, 1500)
    lease, held = context.moves.claim(run, [1, 2], stage="copy", lease_seconds=30, store_time=0, clock=context.clock)
    assert context.reopening.cancel(run)
    assert not context.reopening.cancel(run)

    assert context.reopening.end_cancelled_moves(run) == 1498
    context.moves.release(lease, held)
    assert context.reopening.end_cancelled_moves(run) == 0
    assert context.queues.take_due(run, stage="copy", state=MoveState.PLANNED, limit=9) == [1, 2]


def test_cancel_makes_due_what_had_a_message(context: Context) -> None:
    """The message may have been dropped during a pause."""
    run = _planned(context, 3)
    _set(context, run, "claims = 1, state = 'copied', stage = 'rename'")
    assert context.queues.take_due(run, stage="rename", state=MoveState.COPIED, limit=9) == []
    context.reopening.cancel(run)

    assert context.queues.take_due(run, stage="rename", state=MoveState.COPIED, limit=9) == [1, 2, 3]


def test_cancel_waits_until_what_a_worker_has_sent_can_come_no_more(context: Context) -> None:
    """A worker that had to give up its lease at once has a request under way: nobody acts on its move before that has expired (S7)."""
    run = _planned(context, 2)
    lease, _ = context.moves.claim(run, [1], stage="copy", lease_seconds=30, store_time=0, clock=context.clock)
    context.moves.give_up(lease, due_in=20)
    context.reopening.cancel(run)
    ended = context.reopening.end_cancelled_moves(run)
    woken = context.reopening.wake_cancelled(run, beyond_seconds=25, most=100)
    _, claimed = context.moves.claim(context.runs.get(run.id), [1, 2], stage="copy", lease_seconds=30, store_time=0, clock=context.clock)

    assert (ended, woken, claimed) == (1, 0, [])


def test_switched_moves_of_a_cancelled_run_wait_no_longer_for_their_grace(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are: so many at a time, a page a transaction. Not what is due soon, or held, or waits after an error."""
    monkeypatch.setattr(waking, "PAGE_MOVES", 3)
    run = _planned(context, 12)
    soon, minute, hour = (context.runs.now() + seconds * MICROSECONDS for seconds in (20, 60, 3600))
    _set(context, run, f"state = 'renamed', stage = 'delete', hints = 0, due_at = {hour}, not_before = {hour}")
    with context.moves.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE rekey_moves SET due_at = {soon} WHERE id = 1")
        connection.exec_driver_sql("UPDATE rekey_moves SET lease_token = 'x', lease_kept = TRUE WHERE id = 2")
        connection.exec_driver_sql(f"UPDATE rekey_moves SET attempts = 1, due_at = {minute} WHERE id = 3")
    context.reopening.cancel(run)
    woken = [context.reopening.wake_cancelled(run, beyond_seconds=30, most=6) for _ in range(3)]
    _, claimed = context.moves.claim(
        context.runs.get(run.id), range(1, 13), stage="delete", lease_seconds=30, store_time=0, clock=context.clock
    )

    assert woken == [6, 3, 0]
    assert sorted(move.id for move in claimed) == list(range(4, 13))


def test_parked_and_kept_moves_go_on_where_they_stood(context: Context) -> None:
    """A run that has ended goes on with them."""
    run = _planned(context, 3)
    _set(context, run, "state = 'parked', parked_from = 'copied', reason = 'denied', live_hash = NULL, stage = NULL")
    context.runs.set_state(run, RunState.FINISHED, only_from=RunState.RUNNING)
    found = context.reopening.parked(run, Selection(reasons=[ParkedReason.DENIED], clients=["7"], row_ids=["[1]", "[2]"]))
    sent = context.reopening.retry(run, Selection(row_ids=["[1]", "[2]"]))
    again = context.runs.get(run.id)
    moves = context.moves.load(run, [1, 2, 3])
    _set(context, run, f"state = 'kept', reason = '{KeptReason.HELD}', live_hash = NULL, stage = NULL, parked_from = NULL")
    released = context.reopening.release(run, most=2)

    assert (found, sent.moves, again.state, again.is_live, again.seed_done) == ({"denied": 2}, 2, RunState.RUNNING, True, True)
    assert [move.state for move in moves] == [MoveState.COPIED, MoveState.COPIED, MoveState.PARKED]
    assert (released.moves, context.reopening.releasable(run)) == (2, {"held": 1})


def test_run_does_not_end_while_a_move_is_sent_on_again(context: Context) -> None:
    """The reconciler saw none open a moment ago; by now there is one."""
    run = _planned(context, 1)
    _set(context, run, "state = 'parked', parked_from = 'planned', reason = 'denied', live_hash = NULL, stage = NULL")
    context.reopening.retry(run, Selection())

    assert not context.runs.end(run)
    assert context.runs.get(run.id).is_live


def test_page_that_comes_after_the_cancellation_opens_no_move(context: Context) -> None:
    """The seed had read it before; the run may have ended by now."""
    run = make_run(context)
    context.reopening.cancel(run)
    plans = [make_plan(1, rules=context.rules)]

    assert context.plans.insert_page(run, plans, in_place=set(), cursor="x", grace_seconds=60) is None
    assert context.moves.load(run, [1]) == []


def test_moves_without_a_new_key_are_open_together(context: Context) -> None:
    """Two names that gave no key are tried again, and both have to wait: neither wants what the other one does (S8)."""
    run = make_run(context)
    plans = [make_plan(number, rules=context.rules, new_key="", reason=ParkedReason.BAD_NAME) for number in (1, 2)]
    context.plans.insert_page(run, plans, in_place=set(), cursor="x", grace_seconds=60)
    sent = context.reopening.retry(run, Selection())
    lease, held = context.moves.claim(run, [1, 2], stage="copy", lease_seconds=30, store_time=0, clock=context.clock)
    written = context.moves.record(lease, [Outcome(move=move._replace(attempts=1), due_in=5) for move in held])

    assert (sent.moves, sent.blocked) == (2, 0)
    assert written == {(run.no, 1), (run.no, 2)}
    assert [move.state for move in context.moves.load(run, [1, 2])] == [MoveState.PLANNED] * 2
