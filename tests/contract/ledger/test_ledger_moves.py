"""Claims, outcomes and questions about moves, on each database (S6, S7)."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from app import row_ids
from app.database import read_now, transaction
from app.errors import LeaseLostError
from app.ledger.records import Lease, Move, Outcome, Run
from app.object_store import ObjectInfo
from app.schema import moves
from app.states import MoveState, ParkedReason, RunState
from tests.builders import make_plan, make_run

if TYPE_CHECKING:
    from app.planning import Plan
    from app.stages.context import Context

ODD = "é ü 🙂 '\"`\\ %s :x {0} \t end "


def _planned(context: Context, numbers: int = 3, **values: str) -> Run:
    run = make_run(context)
    plans = [make_plan(number, rules=context.rules, **values) for number in range(1, numbers + 1)]
    context.plans.insert_page(run, plans, in_place=set(), cursor=f"[{numbers}]", grace_seconds=7)
    return context.runs.get(run.id)


def _claim(context: Context, run: Run, ids: list[int], *, stage: str = "copy", seconds: float = 30) -> tuple[Lease, list[Move]]:
    return context.moves.claim(run, ids, stage=stage, lease_seconds=seconds, store_time=1234, clock=context.clock)


def _column(context: Context, move_id: int, name: str) -> object:
    with transaction(context.moves.engine, read_only=True) as connection:
        return connection.execute(select(moves.c[name]).where(moves.c.id == move_id)).scalar_one()


def test_many_workers_at_once_claim_each_move_once(context: Context) -> None:
    """Overlapping messages, all at the same moment."""
    run = _planned(context, 40)
    start = threading.Barrier(8)

    def work(number: int) -> list[int]:
        start.wait()
        ids = list(range(1, 41))
        return [move.id for move in _claim(context, run, ids[number * 5 :] + ids[: number * 5])[1]]

    with ThreadPoolExecutor(8) as pool:
        claimed = [move_id for ids in pool.map(work, range(8)) for move_id in ids]

    assert sorted(claimed) == list(range(1, 41))


def test_claim_says_what_the_ledger_has(context: Context) -> None:
    """The claim counts, and keeps the store's time of the first one."""
    run = _planned(context)
    lease, claimed = _claim(context, run, [2, 3, 77])

    assert [(move.id, move.claims, move.claimed_store_time, move.grace_seconds) for move in claimed] == [(2, 1, 1234, 7), (3, 1, 1234, 7)]
    assert lease.remaining() == 30
    assert [move.id for move in _claim(context, run, [1, 2, 3])[1]] == [1]


def test_every_field_of_an_outcome_comes_back(context: Context) -> None:
    """What is recorded is what is read, odd texts, versions and large numbers included."""
    run = _planned(context)
    lease, (move, _) = _claim(context, run, [1, 2])
    info = ObjectInfo(key=move.old_key, etag="e" * 200, size=5 * 2**40, last_modified=2**33, version_id="v" * 200)
    expected = move._replace(
        state=MoveState.PARKED,
        parked_from=MoveState.RENAMED,
        reason=ParkedReason.CONFLICT,
        detail=ODD,
        client=ODD,
        generation=4,
        old_key=ODD,
        new_key=ODD * 2,
        old_hash=b"\x00" * 32,
        new_hash=b"\xff" * 32,
        waiting=True,
        source=dataclasses.replace(info, key=ODD),
        copy=dataclasses.replace(info, key=ODD * 2, version_id=None),
        copy_recorded=True,
        claims=0,
        claimed_store_time=None,
        attempts=3,
        changes=2,
        missed_store_time=2**33,
        grace_seconds=90 * 86400,
        switch_store_time=2**33,
        looks=5,
        sighted=True,
    )
    written = context.moves.record(lease, [Outcome(move=expected)])

    assert written == {(run.no, 1)}
    assert context.moves.load(run, [1]) == [expected]
    assert (_column(context, 1, "live_hash"), _column(context, 1, "stage"), _column(context, 1, "lease_token")) == (None, None, None)


def test_stamps_are_the_databases_now(context: Context) -> None:
    """Written by the statement itself, after what happened was seen (H16)."""
    run = _planned(context)
    lease, (move,) = _claim(context, run, [1])
    before = context.runs.now()
    stamped = Outcome(move=move._replace(state=MoveState.COPIED), stamp=frozenset({"switched_at", "grace_from", "intent_at"}), due_in=60.0)
    context.moves.record(lease, [stamped])
    after = context.runs.now()
    (found,) = context.moves.load(run, [1])

    stamps = (found.switched_at, found.grace_from, found.intent_at)
    assert all(stamp is not None and before - 1000 <= stamp <= after + 1000 for stamp in stamps)  # SQLite tells milliseconds
    assert before + 59_000_000 <= int(str(_column(context, 1, "not_before"))) <= after + 61_000_000


def test_outcome_needs_the_leases_token(context: Context) -> None:
    """Whoever lost the lease changes nothing, and learns it (S7)."""
    run = _planned(context)
    lease, (first, second) = _claim(context, run, [1, 2])
    context.moves.release(lease, [second])
    other, _ = _claim(context, run, [2])
    written = context.moves.record(lease, [Outcome(move=move._replace(state=MoveState.COPIED)) for move in (first, second)])

    assert written == {(run.no, 1)}
    assert [move.state for move in context.moves.load(run, [1, 2])] == [MoveState.COPIED, MoveState.PLANNED]
    assert _column(context, 2, "lease_token") == other.token


def test_kept_lease_keeps_everybody_away_to_its_end(context: Context) -> None:
    """A request is unanswered (S7)."""
    run = _planned(context)
    lease, (move,) = _claim(context, run, [1])
    context.moves.record(lease, [Outcome(move=move, keep_lease=True)])
    assert _claim(context, run, [1])[1] == []
    context.moves.give_up(lease, due_in=0)
    assert _claim(context, run, [1])[1] == []
    with transaction(context.moves.engine) as connection:  # time goes by: a server's clock cannot be set
        connection.execute(update(moves).values(lease_until=read_now(connection) - 1))
    assert [again.id for again in _claim(context, run, [1])[1]] == [1]


def _wait_until(context: Context, done: object) -> None:
    end = context.runs.now() + 5_000_000
    while not done():  # type: ignore[operator]
        assert context.runs.now() < end


def test_release_gives_back_as_it_was_and_a_hint_delays_the_next(context: Context) -> None:
    """Released with a message ahead: in flight until HINT_SECONDS are over."""
    run = _planned(context)
    lease, held = _claim(context, run, [1, 2, 3])
    context.moves.release(lease, held[:1])
    context.moves.release(lease, held[1:2], hinted=True)
    context.moves.release(lease, held[2:], due_in=100)

    assert context.queues.take_due(run, stage="copy", state=MoveState.PLANNED, limit=10) == [1]
    assert context.queues.in_flight(run) == 2
    assert [move.id for move in _claim(context, run, [1, 2, 3])[1]] == [1, 2]


def test_give_up_all_frees_what_this_process_holds_and_nothing_else(context: Context) -> None:
    """A worker exits at once: its leases, not another worker's."""
    run = _planned(context)
    mine, _ = _claim(context, run, [1])
    other = dataclasses.replace(context, moves=type(context.moves)(context.moves.engine, hint_seconds=60, first_stages={}))
    theirs, _ = _claim(other, run, [2])
    context.moves.give_up_all(due_in=0)

    assert (_column(context, 1, "lease_token"), _column(context, 2, "lease_token")) == (None, theirs.token)
    assert mine.remaining() < 0


def test_renewed_lease_reaches_further_and_a_lost_one_cannot_be_renewed(context: Context) -> None:
    """All of it or nothing."""
    run = _planned(context)
    lease, held = _claim(context, run, [1, 2], seconds=60)
    context.moves.renew(lease, held, seconds=100)
    assert lease.remaining() == 100
    assert int(str(_column(context, 1, "lease_until"))) > context.runs.now() + 90_000_000
    context.moves.release(lease, held[1:])

    with pytest.raises(LeaseLostError):
        context.moves.renew(lease, held, seconds=500)
    assert int(str(_column(context, 1, "lease_until"))) < context.runs.now() + 200_000_000


def test_what_is_held_is_in_flight_though_it_would_be_due_by_itself(context: Context) -> None:
    """A claim leaves the time of the hint as it is; while it lasts nothing is due, and MAX_IN_FLIGHT counts it (H27)."""
    run = _planned(context, 2)
    _claim(context, run, [1, 2])
    with transaction(context.moves.engine) as connection:  # the messages' time is over
        connection.execute(update(moves).values(due_at=read_now(connection) - 1))

    assert context.queues.in_flight(run) == 2
    assert context.queues.due_states(run) == frozenset()
    assert context.queues.take_due(run, stage="copy", state=MoveState.PLANNED, limit=9) == []
    assert context.queues.mark_suspects(run, max_deaths=2) == 0


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("hinted_for", [30, 900])
def test_end_of_a_lease_is_seen_though_its_move_would_be_due_later(context: Context, kept: bool, hinted_for: int) -> None:  # noqa: FBT001 - pytest's
    """A message that was sent lately puts off what is due, but not what a dead worker held, or what was kept to its lease's end (S7)."""
    run = _planned(context, 1)
    with transaction(context.moves.engine) as connection:
        connection.execute(update(moves).values(due_at=read_now(connection) + hinted_for * 1_000_000))
    lease, (move,) = _claim(context, run, [1], seconds=0.01)
    if kept:
        context.moves.record(lease, [Outcome(move=move, keep_lease=True)])
    _wait_until(context, lambda: context.queues.due_states(run))
    lost = context.queues.mark_suspects(run, max_deaths=2)

    assert lost == (0 if kept else 1)
    assert context.queues.take_due(run, stage="copy", state=MoveState.PLANNED, limit=9, suspects=not kept) == [1]


def test_move_whose_lease_was_kept_to_its_end_is_like_any_other_afterwards(context: Context) -> None:
    """Its messages are stamped once each, so that they come less and less often, and are forgotten with those of the others."""
    run = _planned(context, 1)
    lease, (move,) = _claim(context, run, [1], seconds=0.01)
    context.moves.record(lease, [Outcome(move=move, keep_lease=True)])
    _wait_until(context, lambda: context.queues.due_states(run))
    asked: list[list[int]] = []
    for _ in range(3):
        context.queues.mark_suspects(run, max_deaths=2)
        asked.append(context.queues.take_due(run, stage="copy", state=MoveState.PLANNED, limit=9))
    assert asked == [[1], [], []]
    context.queues.forget_hints(run)

    assert context.queues.take_due(run, stage="copy", state=MoveState.PLANNED, limit=9) == [1]
    assert [each.id for each in _claim(context, run, [1])[1]] == [1]


def test_moves_of_one_object_are_found_and_claimed_together(context: Context) -> None:
    """By hash, whatever run they are of; only those that are free and due for the same stage (H13)."""
    run = _planned(context, 4, old_key="up/shared.png")
    lease, (first, busy) = _claim(context, run, [1, 2])
    context.moves.release(lease, [busy])
    _claim(context, run, [2])
    with transaction(context.moves.engine, read_only=True) as connection:
        sharing = context.moves.sharing_old(connection, {first.old_hash, b"\x00" * 32})
        wanting = context.moves.wanting_new(connection, {first.new_hash})
    joined = context.moves.claim_others(lease, [other for other in sharing if other.id != 1], stage="copy", lease_seconds=30)

    assert sorted(other.id for other in sharing) == [1, 2, 3, 4]
    assert [other.id for other in wanting] == [1]
    assert [move.id for move in joined] == [3, 4]
    assert [move.id for move in context.moves.claim_others(lease, sharing, stage="delete", lease_seconds=30)] == [1, 3, 4]


def test_nothing_is_asked_for_no_objects(context: Context) -> None:
    """An empty question is no statement with an empty list."""
    with transaction(context.moves.engine, read_only=True) as connection:
        assert context.moves.sharing_old(connection, set()) == []
        assert context.moves.wanting_new(connection, []) == []
        assert context.assets.naming(connection, []) == {}
        assert context.assets.rows(connection, []) == {}


def test_moves_of_earlier_runs_are_found_newest_first(context: Context) -> None:
    """What took this row away from the same key before (H14)."""
    found: list[int] = []
    for _ in range(3):
        run = _planned(context, 1)
        found.append(run.no)
        lease, (move,) = _claim(context, run, [1])
        context.moves.record(lease, [Outcome(move=move._replace(state=MoveState.SUPERSEDED))])
        context.runs.set_state(run, type(run.state).FINISHED, only_from=run.state)
    with transaction(context.moves.engine, read_only=True) as connection:
        earlier = context.moves.earlier(connection, move)

    assert [other.run_no for other in earlier] == [found[1], found[0]]


def test_lost_lease_makes_a_suspect_that_only_suspects_claims_get(context: Context) -> None:
    """A worker died: found by the reconciler, once (H28)."""
    run = _planned(context, 2)
    _claim(context, run, [1, 2], seconds=0.01)
    found: list[int] = []  # MySQL's clock runs on within the claim, so that one lease may end before the other

    def both_found() -> bool:
        found.append(context.queues.mark_suspects(run, max_deaths=2))
        return sum(found) == 2

    _wait_until(context, both_found)
    assert context.queues.mark_suspects(run, max_deaths=2) == 0
    assert _claim(context, run, [1, 2])[1] == []
    assert context.queues.take_due(run, stage="copy", state=MoveState.PLANNED, limit=9) == []
    assert context.queues.take_due(run, stage="copy", state=MoveState.PLANNED, limit=9, suspects=True) == [1, 2]
    for _ in range(2):
        _, alone = context.moves.claim(run, [1], stage="copy", lease_seconds=0.01, store_time=1, clock=context.clock, suspects=True)
        assert len(alone) == 1
        _wait_until(context, lambda: not _column(context, 1, "lease_token") or context.queues.mark_suspects(run, max_deaths=2) > 0)
    (dead, lives) = context.moves.load(run, [1, 2])

    assert (dead.state, dead.parked_from, dead.reason, dead.deaths) == (MoveState.PARKED, MoveState.PLANNED, ParkedReason.FAILED, 2)
    assert (lives.state, lives.deaths) == (MoveState.PLANNED, 0)
    assert _column(context, 1, "live_hash") is None


def test_page_is_planned_whole_or_not_at_all(context: Context) -> None:
    """The cursor moves by compare-and-swap (H27); a taken key gets a parked row of its own (H25)."""
    run = make_run(context)
    twins: list[Plan] = [make_plan(number, rules=context.rules, new_key="clients/7/assets/logo.png") for number in (1, 2)]
    planned = context.plans.insert_page(run, [*twins, make_plan(3, rules=context.rules)], in_place=set(), cursor="[3]", grace_seconds=1)
    again = context.plans.insert_page(run, [make_plan(4, rules=context.rules)], in_place=set(), cursor="[4]", grace_seconds=1)

    assert planned is not None
    assert (planned.copy_ids, planned.examined, again) == ([1, 3], 3, None)
    assert [move.reason for move in context.moves.load(run, [1, 2, 3, 4])] == [None, ParkedReason.COLLISION, None]


def test_seeds_at_once_plan_each_page_once(context: Context) -> None:
    """All at the same moment."""
    run = make_run(context)
    plans = [make_plan(number, rules=context.rules) for number in range(1, 30)]
    start = threading.Barrier(6)

    def work(_: int) -> bool:
        start.wait()
        return context.plans.insert_page(run, plans, in_place=set(), cursor="[29]", grace_seconds=1) is not None

    with ThreadPoolExecutor(6) as pool:
        won = sum(pool.map(work, range(6)))

    assert won == 1
    assert context.runs.get(run.id).next_move == 30


def test_runs_that_want_one_key_at_once_collide_and_lose_nothing(context: Context) -> None:
    """Two tables, one bucket: one move wins, the other is parked with a row of its own (H25)."""
    other = dataclasses.replace(context, settings=context.settings.model_copy(update={"table": "more_assets"}))
    first, second = make_run(context), make_run(other)
    start = threading.Barrier(2)

    def work(run: Run) -> None:
        start.wait()
        plans = [make_plan(number, rules=context.rules) for number in range(1, 20)]
        context.plans.insert_page(run, plans, in_place=set(), cursor="[1]", grace_seconds=1)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, (first, second)))
    states = [[move.state for move in context.moves.load(run, list(range(1, 20)))] for run in (first, second)]

    assert sorted(len(found) for found in states) == [19, 19]
    assert sum(found.count(MoveState.PLANNED) for found in states) == 19
    assert sum(found.count(MoveState.PARKED) for found in states) == 19


def test_keys_differ_byte_by_byte_in_the_ledger(context: Context) -> None:
    """Whatever the database's collation: Logo and logo, é and e, a trailing blank (H25)."""
    run = make_run(context)
    names = ("Logo", "logo", "é", "e", "a", "a ", "ß", "ss")
    plans = [
        make_plan(number, rules=context.rules, new_key=f"clients/7/assets/{name}", row_id=row_ids.to_text([name]))
        for number, name in enumerate(names, start=1)
    ]
    planned = context.plans.insert_page(run, plans, in_place=set(), cursor='["ss"]', grace_seconds=1)
    with transaction(context.moves.engine, read_only=True) as connection:
        unplanned = context.plans.unplanned(connection, run, ['["LOGO"]', '["Logo"]', '["e"]', '["E"]'])

    assert planned is not None
    assert len(planned.copy_ids) == len(names)
    assert unplanned == {'["LOGO"]', '["E"]'}


def test_ids_of_any_length_that_a_key_can_have_fit(context: Context) -> None:
    """A text id of 400 letters, six ASCII characters each in the ledger."""
    run = make_run(context)
    row_id = row_ids.to_text(["é" * 400])
    planned = context.plans.insert_page(
        run, [make_plan(1, rules=context.rules, row_id=row_id)], in_place=set(), cursor=row_id, grace_seconds=1
    )

    assert planned is not None
    assert context.moves.load(run, [1])[0].row_id == row_id


def test_waiting_moves_are_woken_or_end_as_a_cycle(context: Context) -> None:
    """Only waiting moves are left (S9)."""
    run = make_run(context)
    keys = [("a", "b"), ("b", "a"), ("c", "d")]
    plans = [make_plan(number, rules=context.rules, old_key=old, new_key=new) for number, (old, new) in enumerate(keys, start=1)]
    context.plans.insert_page(run, plans, in_place=set(), cursor="[3]", grace_seconds=1)
    lease, held = _claim(context, run, [1, 2, 3])
    context.moves.record(lease, [Outcome(move=move._replace(waiting=True), due_in=100) for move in held])
    assert (context.queues.is_going(run), context.queues.is_waiting(run)) == (False, True)
    assert context.queues.end_waiting(run) == 0
    lease, (free,) = _claim(context, run, [1, 2, 3])
    assert free.id == 3
    context.moves.record(lease, [Outcome(move=free._replace(state=MoveState.SUPERSEDED, waiting=False))])

    assert context.queues.end_waiting(run) == 2
    assert {move.reason for move in context.moves.load(run, [1, 2])} == {ParkedReason.TARGET_EXISTS}
    assert (context.queues.is_going(run), context.queues.is_waiting(run)) == (False, False)


def test_counts_say_how_all_moves_stand(context: Context) -> None:
    """By state, stage of parking, reason and waiting."""
    run = _planned(context, 4)
    lease, held = _claim(context, run, [1, 2, 3])
    changes = [
        {"state": MoveState.COPIED},
        {"state": MoveState.PARKED, "parked_from": MoveState.COPIED, "reason": ParkedReason.DENIED},
        {"attempts": 1, "detail": "503"},
    ]
    context.moves.record(lease, [Outcome(move=move._replace(**more)) for move, more in zip(held, changes, strict=True)])  # type: ignore[arg-type]
    counts = {(count.state, count.parked_from, count.reason, count.waiting): count.moves for count in context.queues.counts(run)}

    assert counts == {
        (MoveState.COPIED, None, None, False): 1,
        (MoveState.PARKED, MoveState.COPIED, ParkedReason.DENIED, False): 1,
        (MoveState.PLANNED, None, None, False): 2,
    }
    assert context.queues.last_errors(run) == ["503"]


@pytest.mark.parametrize("most", [MoveState.COPIED, MoveState.RENAMED, MoveState.DELETED, MoveState.SUPERSEDED])
def test_state_that_most_moves_are_in_is_counted_as_well(context: Context, most: MoveState) -> None:
    """It is what is left of all; a state that no move is in has no count, and moves of other runs are in none of this one."""
    ended = _planned(context, 2)
    assert context.runs.set_state(ended, RunState.FINISHED, only_from=RunState.RUNNING)
    run = make_run(context)
    plans = [make_plan(number, rules=context.rules, new_key=f"other/{number}") for number in range(1, 8)]
    context.plans.insert_page(run, plans, in_place=set(), cursor="[7]", grace_seconds=60)
    lease, held = _claim(context, run, [1, 2, 3, 4, 5])
    states = [most, most, most, most, MoveState.IN_PLACE]
    context.moves.record(lease, [Outcome(move=move._replace(state=state)) for move, state in zip(held, states, strict=True)])

    expected = {most: 4, MoveState.IN_PLACE: 1, MoveState.PLANNED: 2}
    for known in (run, context.runs.get(run.id)):  # one was read before there were any moves
        assert {count.state: count.moves for count in context.queues.counts(known)} == expected


def test_jump_back_of_the_clock_leaves_nothing_far_off(context: Context) -> None:
    """What was due in an hour is due now; a lease is cut to the longest that there is (H16)."""
    run = _planned(context, 3)
    lease, held = _claim(context, run, [1, 2], seconds=10_000)
    context.moves.release(lease, held[1:], due_in=7200)
    context.queues.cut_after_jump(run)

    assert int(str(_column(context, 1, "lease_until"))) <= context.runs.now() + 841_000_000
    assert _column(context, 1, "lease_token") == lease.token
    assert sorted(context.queues.take_due(run, stage="copy", state=MoveState.PLANNED, limit=9)) == [2, 3]


def test_hints_that_were_dropped_are_forgotten(context: Context) -> None:
    """After a pause everything that had a message is due (H17)."""
    run = _planned(context, 3)
    assert context.queues.take_due(run, stage="copy", state=MoveState.PLANNED, limit=9) == []
    assert context.queues.in_flight(run) == 3
    context.queues.forget_hints(run)
    assert context.queues.in_flight(run) == 0
    assert context.queues.take_due(run, stage="copy", state=MoveState.PLANNED, limit=2) == [1, 2]
    context.moves.unhint(run, [1])

    assert sorted(context.queues.take_due(run, stage="copy", state=MoveState.PLANNED, limit=9)) == [1, 3]
