"""Runs that come to their rows in steps: each row is moved once, and nothing beyond a step before that is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.errors import DeniedError, UsageError
from app.ladder import Step, steps_of
from app.ledger.reopening import Selection
from app.stages import seed_pages
from app.stages.seed_moves import seed_moves
from app.states import MoveState, RunState
from app.testing import Fault
from tests.builders import World, make_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ROWS = 40


def climbing(folder: Path, steps: Sequence[Step], *, is_auto: bool = False, rows: int = ROWS, **settings: object) -> World:
    """A world with *rows* assets of four clients, and a run in these steps."""
    world = World(folder, settings={"grace_seconds": 0, **settings})
    for number in range(1, rows + 1):
        world.add(number, client=number % 4)
    world.run_id = make_run(world.context, steps=steps, is_auto=is_auto).id
    return world


def moved(world: World) -> set[int]:
    """The rows that name their new key."""
    return {number for number in range(1, ROWS + 1) if world.key(number).startswith("clients/")}


def resume(world: World) -> Step | None:
    """As the command does."""
    step = world.context.ladders.resume(world.run, failed=world.context.canaries.find(world.run).failed)
    world.context.queues.forget_hints(world.run)
    return step


def drive(world: World) -> None:
    """On until the run rests or ends, with a seed message that beat has sent for."""
    world.messages.append((None, []))
    world.go()


def test_ladder_rests_after_each_step_and_moves_each_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row, then the rest of its client's, then a sample, then all; the status says where it is and what it waits for."""
    monkeypatch.setattr(seed_pages, "PAGE_ROWS", 7)
    monkeypatch.setattr("app.ladder.SAMPLE", 200_000)
    world = climbing(tmp_path, steps_of(Step(), ladder=True))
    seen, told = [], []
    for _ in range(4):
        drive(world)
        seen.append(moved(world))
        report = world.report()
        told.append((report["state"], report["step"]["step"], report["step"]["of"], report["step"]["waits"], report["stall"]))
        resume(world)
    mine = {number for number in range(1, ROWS + 1) if number % 4 == 1}

    assert seen[0] == {1}
    assert seen[1] == mine
    assert mine < seen[2] < seen[3]
    assert seen[3] == set(range(1, ROWS + 1))
    assert [state[:4] for state in told] == [
        ("paused", 1, 4, True),
        ("paused", 2, 4, True),
        ("paused", 3, 4, True),
        ("finished", 4, 4, False),
    ]
    assert "step 1 of 4 (1 row) is over, 1 to be moved in it, none parked" in told[0][4]
    assert "`rekey resume` begins step 2 (one client)" in told[0][4]
    assert "step 2 of 4 (all rows of client 1)" in told[1][4]
    assert len({move.row_id for move in world.moves()}) == len(world.moves()) == ROWS


def test_ladder_goes_on_by_itself_as_long_as_nothing_fails(tmp_path: Path) -> None:
    """With --auto; it rests after the step in which a row was parked."""
    clean = climbing(tmp_path, steps_of(Step(), ladder=True), is_auto=True)
    drive(clean)

    assert (clean.run.state, clean.states()) == (RunState.FINISHED, {"deleted": ROWS})


def test_parked_row_ends_the_going_on(tmp_path: Path) -> None:
    """Its step is the last that moved anything, until somebody has looked at it."""
    world = climbing(tmp_path, steps_of(Step(), ladder=True), is_auto=True)
    world.store.app_delete("up/5.png")
    drive(world)

    assert (world.run.state, world.report()["step"]["step"]) == (RunState.PAUSED, 2)
    assert "1 parked in all" in world.report()["stall"]
    assert moved(world) == {number for number in range(1, ROWS + 1) if number % 4 == 1 and number != 5}


def test_failed_canary_read_ends_the_going_on(tmp_path: Path) -> None:
    """Those of the steps before do not count again."""
    world = climbing(tmp_path, (Step(limit=1), Step(limit=1), Step()), is_auto=True)
    world.seed()
    for stage in ("copy", "rename", "delete"):
        world.do(stage)
    first = world.context.ladders.climb(world.run, failed=1)
    resume_failed = world.context.ladders.resume(world.run, failed=1)

    assert first is not None
    assert (first.waits, first.failed) == (True, 1)
    assert resume_failed == Step(limit=1)
    drive(world)
    assert world.states()["deleted"] == 2, "the failure was seen by who resumed"


def test_step_without_rows_is_passed_over(tmp_path: Path) -> None:
    """A second run has nothing to move, and rests nowhere."""
    world = climbing(tmp_path, steps_of(Step(), ladder=True), rows=0)
    drive(world)

    assert world.run.state is RunState.FINISHED
    assert world.moves() == []


def test_limit_counts_the_rows_that_need_a_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in place are passed by, so that the next run with a limit takes the next rows."""
    monkeypatch.setattr(seed_pages, "PAGE_ROWS", 4)
    world = climbing(tmp_path, (Step(limit=10),))
    drive(world)
    first = moved(world)
    world.run_id = make_run(world.context, steps=(Step(limit=10),)).id
    drive(world)

    assert first == set(range(1, 11))
    assert moved(world) == set(range(1, 21))
    assert (world.states(), world.run.unseen) == ({"in_place": 10, "deleted": 10}, 0)


def test_clients_alone_are_moved(tmp_path: Path) -> None:
    """Of a client that the column cannot hold there is no run."""
    world = climbing(tmp_path, (Step(clients=("1", "3")),))
    drive(world)

    assert moved(world) == {number for number in range(1, ROWS + 1) if number % 2}
    with pytest.raises(UsageError, match="the column 'client_id' holds no such value"):
        world.context.assets.of_clients(("seven",))


def test_sample_moves_the_same_rows_whatever_the_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a seed that is killed and begins anew plans them once."""
    found = []
    for number, (page, ids) in enumerate([(3, 5), (50, 1000)]):
        monkeypatch.setattr(seed_pages, "PAGE_ROWS", page)
        monkeypatch.setattr("app.assets.STRETCH_ROWS", ids)
        folder = tmp_path / str(number)
        folder.mkdir()
        world = climbing(folder, (Step(sample=300_000),))
        seed_moves(world.run, context=world.context)
        drive(world)
        found.append(moved(world))

    assert found[0] == found[1]
    assert 0 < len(found[0]) < ROWS


def test_seed_of_the_step_before_plans_nothing_in_the_next(tmp_path: Path) -> None:
    """It stood still between its look at the table and its write: its page is of another pass."""
    world = climbing(tmp_path, (Step(limit=1), Step()))
    stale = world.run
    drive(world)
    resume(world)
    late = seed_moves(stale, context=world.context)
    drive(world)

    assert late.summary == "another seed was faster"
    assert world.states() == {"deleted": ROWS}


def test_row_that_is_sent_on_again_ends_before_the_next_step_begins(tmp_path: Path) -> None:
    """Mended while the run waits: `resume` lets it go on with that row, and the run waits once more."""
    world = climbing(tmp_path, (Step(limit=1), Step()))
    world.store.faults.add(Fault.refuse(DeniedError), on="delete_key")
    drive(world)
    parked = world.states()
    world.context.reopening.retry(world.run, Selection())
    resumed = resume(world)
    drive(world)

    assert parked == {"parked": 1}
    assert resumed is None
    assert (world.states(), world.run.state) == ({"deleted": 1}, RunState.PAUSED)
    assert resume(world) == Step()


def test_cancelled_ladder_goes_no_further(tmp_path: Path) -> None:
    """Nor does one whose parked row is sent on again after that: it ends where it was cancelled."""
    world = climbing(tmp_path, (Step(limit=1), Step()))
    world.store.faults.add(Fault.refuse(DeniedError), on="delete_key")
    drive(world)
    world.context.reopening.cancel(world.run)
    world.later(5)
    world.tick()
    cancelled = world.run
    world.context.reopening.retry(world.run, Selection())
    drive(world)

    assert (cancelled.state, cancelled.is_live) == (RunState.CANCELLED, False)
    assert (world.run.state, world.run.is_live) == (RunState.FINISHED, False)
    assert [move.state for move in world.moves()] == [MoveState.DELETED]
    assert world.report()["step"]["next"] is None


def test_grace_is_part_of_a_step(tmp_path: Path) -> None:
    """Only what became of the deletes shows that a step went well."""
    world = climbing(tmp_path, (Step(limit=1), Step()), grace_seconds=600, is_auto=True)
    world.messages.append((None, []))
    world.go(until=20)

    assert world.states() == {"renamed": 1}
    assert world.report()["step"]["step"] == 1
    drive(world)
    assert world.states() == {"deleted": ROWS}
