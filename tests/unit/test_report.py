"""The report: every row is counted once, and a standstill has its reason (S8)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from app.errors import StoreFullError, StoreUnavailableError, UnreachableError
from app.ledger.counting import Count
from app.report import OUTAGE_SECONDS, SILENT_SECONDS, SILENT_TICKS, is_done, rates, stall, time_left, totals_of
from app.stages.tally import Tally
from app.states import OPEN_STATES, MoveState, ParkedReason, RunState
from app.testing import Fault
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path

    from app.ledger.records import Run

FINALS = ("deleted", "in_place", "kept", "parked", "superseded", "cancelled", "rolled_back")
SECOND = 1_000_000
REFUSED = "cannot connect to 127.0.0.1:9000: [Errno 111] Connection refused"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world."""
    return World(tmp_path)


def test_rows_are_the_outcomes_and_what_is_open() -> None:
    """All rows are deleted + kept + in_place + parked + superseded + cancelled + rolled_back + open, whatever the states (section 3)."""
    counts = [
        Count(
            state,
            MoveState.COPIED if state is MoveState.PARKED else None,
            ParkedReason.DENIED if state is MoveState.PARKED else None,
            waiting=False,
            moves=2**number,
        )
        for number, state in enumerate(MoveState)
    ]
    totals = totals_of(counts)

    assert totals["rows"] == 2 ** len(MoveState) - 1
    assert totals["rows"] == sum(totals[name] for name in FINALS) + totals["open"]
    assert totals["open"] == sum(count.moves for count in counts if count.state in OPEN_STATES)
    assert totals["parked_reasons"] == {"denied": totals["parked"]}


@pytest.mark.parametrize(
    ("state", "parked_from", "expected"),
    [
        (MoveState.PLANNED, None, (0, 0, 0)),
        (MoveState.COPIED, None, (1, 0, 0)),
        (MoveState.RENAMED, None, (1, 1, 0)),
        (MoveState.DELETED, None, (1, 1, 1)),
        (MoveState.KEPT, None, (1, 1, 0)),
        (MoveState.IN_PLACE, None, (0, 0, 0)),
        (MoveState.PARKED, MoveState.PLANNED, (0, 0, 0)),
        (MoveState.PARKED, MoveState.COPIED, (1, 0, 0)),
        (MoveState.PARKED, MoveState.RENAMED, (1, 1, 0)),
        (MoveState.SUPERSEDED, None, (0, 0, 0)),
    ],
)
def test_totals_so_far_count_a_move_at_each_stage_that_it_has_passed(
    state: MoveState, parked_from: MoveState | None, expected: tuple[int, int, int]
) -> None:
    """A parked one by where it was parked."""
    totals = totals_of([Count(state, parked_from, ParkedReason.FAILED if parked_from else None, waiting=False, moves=1)])

    assert (totals["copied"], totals["renamed"], totals["deleted"]) == expected


def test_report_equals_a_recount_of_the_bucket_and_the_table(world: World) -> None:
    """At every tick, on a run with every kind of row (O3)."""
    world.add(1)
    world.add(2, "clients/7/assets/2.png")
    world.add(3, "in/1.png")
    world.add(4, body=None)
    world.add(5)
    world.sql("UPDATE assets SET object_key = NULL WHERE id = 5")
    for _ in range(30):
        world.go(until=1)
        report = world.report()
        assert report["rows"] == sum(report[name] for name in FINALS) + report["open"]
        rows = world.sql("SELECT object_key FROM assets WHERE object_key LIKE 'clients/%'")
        assert report["renamed"] + report["in_place"] == len(rows)
        if report["state"] == "finished":
            break

    assert (report["rows"], report["deleted"], report["in_place"], report["parked"]) == (5, 1, 1, 3)
    assert report["parked_reasons"] == {"bad_name": 1, "collision": 1, "missing_source": 1}
    assert not is_done(report)


@pytest.mark.parametrize(
    ("change", "done"),
    [
        ({}, True),
        ({"state": "running"}, False),
        ({"rows": 5, "parked": 1}, False),
        ({"rows": 5, "cancelled": 1}, False),
        ({"rows": 5, "open": 1}, False),
        ({"unseen": 1}, False),
        ({"rows": 0, "deleted": 0, "kept": 0, "in_place": 0, "superseded": 0}, True),
    ],
)
def test_done_means_that_every_row_is(change: dict[str, Any], done: bool) -> None:  # noqa: FBT001
    """Exit status 0 for nothing less (S8)."""
    report = {"state": "finished", "rows": 4, "deleted": 1, "kept": 1, "in_place": 1, "superseded": 1, "unseen": 0} | change

    assert is_done(report) is done


def _stall(run: Run, **more: Any) -> str | None:  # noqa: ANN401 - arguments of stall
    values: dict[str, Any] = {"now": run.created_at, "counts": [], "next_delete": None, "errors": [], "grace": 60} | more
    return stall(run, **values)


def test_standstill_has_its_reason_and_the_remedy(world: World) -> None:
    """In the order of what has to be mended first."""
    run = world.run
    now = run.created_at
    switched = [Count(MoveState.RENAMED, None, None, waiting=False, moves=3)]

    assert _stall(run) is None
    assert "rekey resume" in str(_stall(dataclasses.replace(run, state=RunState.PAUSED)))
    assert _stall(dataclasses.replace(run, state=RunState.FINISHED)) is None
    assert "beat" in str(_stall(run, now=now + (SILENT_TICKS * 5 + 1) * SECOND))
    assert _stall(dataclasses.replace(run, tick_at=now + 30 * SECOND), now=now + 31 * SECOND) is None
    often = dataclasses.replace(run, settings={"reconcile_seconds": 0.2})
    assert _stall(often, now=now + int((SILENT_SECONDS - 1) * SECOND)) is None
    assert "beat" in str(_stall(often, now=now + int((SILENT_SECONDS + 1) * SECOND)))
    assert "held for 9 s" in str(_stall(dataclasses.replace(run, deletes_held_until=now + 9 * SECOND)))
    assert "due in 7 s" in str(_stall(run, counts=switched, next_delete=now + 7 * SECOND))
    assert _stall(run, errors=["503 SlowDown"]) == "503 SlowDown"


def test_missing_tick_shows_in_the_report(world: World) -> None:
    """`stall` names it, and whatever may be the cause: the broker, which beat and worker cannot do without, first (H26)."""
    world.add(1)
    world.seed()
    world.tick()
    world.later(100)

    assert world.report()["stall"] == (
        "no reconciler tick for 100 s: does the broker answer (`rekey doctor` asks it), is beat running, "
        "and a worker for the seed queue (`python -m workers`)?"
    )
    assert world.report()["held_back_by"] is None, "whose messages were lost are not sent again either"


def test_first_deletes_are_due_when_the_first_grace_ends(world: World) -> None:
    """Looks come before that, and are no deletes."""
    world.add(1)
    world.moved()
    world.later(10)
    report = world.report()

    assert report["deletes_due_at"] == world.move(1).grace_from + 60 * SECOND  # type: ignore[operator]
    assert "50 s" in str(report["stall"]) or report["stall"] is None
    world.tick()
    assert "due in 50 s" in str(world.report()["stall"])


def test_rates_go_by_what_is_done(world: World) -> None:
    """Nothing to go by yet: no time left is guessed."""
    run = world.run

    assert rates(run, now=run.created_at, done=0, rows=10) == {"seconds": 0.0, "per_second": 0.0, "eta_seconds": None}
    assert rates(run, now=run.created_at + 4 * SECOND, done=8, rows=10) == {"seconds": 4.0, "per_second": 2.0, "eta_seconds": 1}
    finished = dataclasses.replace(run, state=RunState.FINISHED, finished_at=run.created_at + 2 * SECOND)
    assert rates(finished, now=run.created_at + 100 * SECOND, done=10, rows=10) == {"seconds": 2.0, "per_second": 5.0, "eta_seconds": None}


@pytest.mark.parametrize(
    ("hold", "words"), [(False, "the first deletes are due in 50 s"), (True, "and old objects are held from then on, the first in 50 s")]
)
def test_grace_is_said_to_end_in_deletes_only_where_it_does(world: World, *, hold: bool, words: str) -> None:
    """Where they are held nobody is told of deletes that do not come."""
    run = dataclasses.replace(world.run, hold_deletes=hold)
    counts = [Count(MoveState.RENAMED, None, None, waiting=False, moves=1)]
    told = stall(run, now=run.tick_at, counts=counts, next_delete=run.tick_at + 50 * SECOND, errors=[], grace=60)

    assert told is not None
    assert words in told


@pytest.mark.parametrize(
    ("totals", "expected"),
    [
        ({}, None),
        ({"copied": 220, "open": 993}, None),  # seven were in place, and the copies are not switched yet
        ({"copied": 400, "renamed": 200, "open": 993, "open_switched": 200}, 60 + 40),
        ({"copied": 1000, "renamed": 993, "open": 993, "open_switched": 993}, 60 + 10),
        ({"copied": 1000, "renamed": 993, "open": 10, "open_switched": 10}, 0),
        ({"open": 500}, 10),  # a run over a table that is in place
    ],
)
def test_time_left_goes_by_what_is_switched_until_the_first_grace_is_over(
    world: World, totals: dict[str, int], expected: int | None
) -> None:
    """Of 1000 rows, ten seconds after the start, with a grace of a minute."""
    run = dataclasses.replace(world.run, settings={**world.run.settings, "grace_seconds": 60})
    counts = {"rows": 1000 if totals else 0, "copied": 0, "renamed": 0, "open": 0, "open_switched": 0, **totals}

    assert time_left(run, totals=counts, seconds=10.0, rows=1000) == expected
    assert time_left(dataclasses.replace(run, state=RunState.PAUSED), totals=counts, seconds=10.0, rows=1000) is None


# The object store gives workers nothing


def away(world: World) -> None:
    """Nothing that is asked of the store reaches it."""
    gone = UnreachableError(REFUSED)
    for on in ("stat", "head", "read", "copy", "put", "list_page", "delete"):
        world.store.faults.add(Fault.refuse(gone), on=on, times=None)


@pytest.mark.parametrize("stage", ["copy", "rename", "delete"])
def test_store_that_is_away_is_the_reason_and_nothing_else_holds_the_run_back(tmp_path: Path, stage: str) -> None:
    """Whichever stage asks it, at once; not the rate that was set and is not used, nor workers that take what they give back."""
    world = World(tmp_path, settings={"grace_seconds": 0})
    for number in (1, 2, 3):
        world.add(number)
    world.seed()
    for before in ("copy", "rename", "delete")[: ("copy", "rename", "delete").index(stage)]:
        world.do(before)
    world.context.steering.set_knobs(world.run, {f"{stage}_rate": 8})
    away(world)
    world.do(stage)
    world.later(3)
    report = world.report()

    assert report["stall"] == (f"the object store does not answer: {REFUSED}; a {stage} worker has seen that 3 s ago")
    assert report["stall_kind"] == f"the object store does not answer; a {stage} worker has seen that 3 s ago"
    assert report["held_back_by"] is None


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.lose_reply(), "the object store does not answer: no answer for"),
        (Fault.refuse(StoreFullError("XMinioStorageFull")), "the object store is full: XMinioStorageFull"),
        (Fault.refuse(StoreUnavailableError("ExpiredToken")), "no request to the object store goes through: ExpiredToken"),
    ],
)
def test_store_that_gives_nothing_is_told_as_it_is(world: World, fault: Fault, said: str) -> None:
    """No move has an error for any of these."""
    world.add(1)
    world.seed()
    for on in ("copy", "put"):
        world.store.faults.add(fault, on=on)
    world.do("copy")

    assert said in str(world.report()["stall"])


def test_outage_is_over_when_a_worker_is_served_again(world: World) -> None:
    """Also where the worker that has seen it has died, and another one took its place."""
    for number in (1, 2):
        world.add(number)
    world.seed()
    away(world)
    world.do("copy")
    during = world.report()["stall"]
    world.store.faults.clear()
    world.later(10)
    world.do("copy", [1], worker=world.worker(tally=Tally(seconds=0.0)))

    assert "does not answer" in str(during)
    assert world.report()["stall"] is None


def test_outage_that_one_of_several_workers_sees_is_no_standstill(world: World) -> None:
    """The others get done what is to be done: its record stays, and is not the reason for anything."""
    for number in (1, 2):
        world.add(number)
    world.seed()
    away(world)
    world.do("copy", [1])
    world.store.faults.clear()
    world.later(1)
    other = world.worker(tally=Tally(seconds=0.0), outages=world.context.outages)
    world.do("copy", [2], worker=other)

    assert world.states() == {"planned": 1, "copied": 1}
    assert world.report()["stall"] is None


def test_outage_of_which_nobody_has_spoken_for_long_is_none(world: World) -> None:
    """Whoever saw it has died, or has nothing to do any more."""
    world.add(1)
    world.seed()
    away(world)
    world.do("copy")
    world.later(OUTAGE_SECONDS + 1)
    world.tick()

    assert "does not answer" not in str(world.report()["stall"])


def test_worker_says_once_that_the_store_is_away_and_once_that_it_is_back(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """However many batches are given back meanwhile, and whatever was served at the same moment."""
    caplog.set_level("WARNING", "app.stages.outages")
    for number in (1, 2, 3):
        world.add(number)
    world.seed()
    away(world)
    for _ in range(3):
        world.do("copy", [1])
        world.later(5)
    world.store.faults.clear()
    for number in (1, 2, 3):
        world.do("copy", [number])
    lines = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "app.stages.outages"]

    assert lines == [
        (
            "WARNING",
            f"the object store does not answer: {REFUSED}; copy of run {world.run_id[:8]} waits for it",
        ),
        ("WARNING", f"the object store serves copy of run {world.run_id[:8]} again"),
    ]
