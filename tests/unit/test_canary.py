"""Canary reads: what the service could not read pauses the run before more is deleted; what nobody can blame on the move does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.errors import DeniedError, ObjectError, StoreRequestError
from app.report import snapshot
from app.stages.canary import LOOKS
from app.states import MoveState, RunState
from app.testing import Fault
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path

    from app.ledger.records import Move, Run

SETTLE = 30
HELD = {"canary_reads": 10, "grace_seconds": 3600, "settle_seconds": SETTLE}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Three assets whose rows are switched, and whose old objects are held for an hour."""
    made = World(tmp_path, settings=HELD)
    for number in (1, 2, 3):
        made.add(number)
    made.moved()
    return made


def report_of(world: World) -> dict[str, Any]:
    """As the commands have it."""
    return snapshot(world.run, runs=world.context.runs, queues=world.context.queues)


def ticks(world: World, seconds: float) -> None:
    """Let beat tick for so long."""
    for _ in range(int(seconds // 5) + 1):
        world.tick()
        world.later(5)


def new_key(number: int) -> str:
    """Where the asset went."""
    return f"clients/7/assets/{number}.png"


def test_reads_that_succeed_are_counted_and_change_nothing(world: World) -> None:
    """Each tick reads, whatever else it has to do."""
    world.tick()
    world.later(5)
    world.tick()
    report = report_of(world)

    assert (report["canary_reads"], report["canary_failed"]) == (6, 0)
    assert report["state"] == "running"


def test_moved_asset_that_is_not_there_pauses_the_run_before_anything_is_deleted(world: World) -> None:
    """Somebody has removed the new object: the old ones stay, and the status says why."""
    world.store.app_delete(new_key(2))
    ticks(world, SETTLE + 5)
    report = report_of(world)
    world.later(7200)
    world.go(until=3)

    assert report["canary_failed"] == 1
    assert report["state"] == "paused"
    assert report["stall"].startswith("paused, since a canary read failed: row [2]: no object at the key that the row names, for 30 s")
    assert [key for name, key in world.writes() if name == "delete"] == []
    assert world.states() == {"renamed": 3}


def test_deletes_wait_while_a_missing_object_is_looked_for(tmp_path: Path) -> None:
    """At the first look already: by the last one the old object would be gone."""
    world = World(tmp_path, settings=HELD | {"grace_seconds": 0})
    for number in (1, 2, 3):
        world.add(number)
    world.moved()
    world.store.app_delete(new_key(2))
    world.tick()
    world.do("delete")
    held = report_of(world)
    world.store.app_put(new_key(2), b"v1")
    world.go()

    assert held["state"] == "running"
    assert held["stall"] == "a canary read did not get the object that row [2] names: deletes are held while it is read again"
    assert held["deleted"] == 0
    assert (report_of(world)["deleted"], report_of(world)["canary_failed"]) == (3, 0)


def test_longer_hold_of_deletes_is_not_cut_short(world: World) -> None:
    """The database's clock has jumped: that hold is one grace."""
    world.context.runs.hold_deletes(world.run, seconds=3600)
    before = world.run.deletes_held_until
    world.store.app_delete(new_key(2))
    world.tick()

    assert world.run.deletes_held_until == before


def test_operator_lets_the_run_go_on(world: World) -> None:
    """What failed is counted for good, but is no reason of the next pause."""
    world.store.app_delete(new_key(2))
    ticks(world, SETTLE + 5)
    world.store.app_put(new_key(2), b"v1")
    before = report_of(world)
    world.context.runs.set_state(world.run, RunState.RUNNING, only_from=RunState.PAUSED)
    world.context.canaries.go_on(world.run)
    world.later(5)
    world.tick()
    resumed = report_of(world)
    world.context.runs.set_state(world.run, RunState.PAUSED, only_from=RunState.RUNNING)

    assert before["state"] == "paused"
    assert (resumed["state"], resumed["canary_failed"], resumed["canary_reads"] > before["canary_reads"]) == ("running", 1, True)
    assert report_of(world)["stall"] == "paused: `rekey resume` goes on"


def test_tick_that_slept_takes_nothing_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is stopped between its reads and its note; others read meanwhile, and miss what it found."""
    sample = world.context.canaries.sample

    def slept(run: Run, *, most: int) -> list[Move]:
        monkeypatch.setattr(type(world.context.canaries), "sample", lambda _, run, most: sample(run, most=most))
        chosen = sample(run, most=most)
        world.store.app_delete(new_key(2))
        ticks(world, SETTLE + 5)
        world.store.app_put(new_key(2), b"v1")
        return chosen

    world.tick()
    world.later(5)
    monkeypatch.setattr(type(world.context.canaries), "sample", lambda _, run, most: slept(run, most=most))
    world.tick()
    report = report_of(world)

    assert (report["state"], report["canary_failed"]) == ("paused", 1)
    assert report["stall"].startswith("paused, since a canary read failed: row [2]")
    assert report["canary_reads"] > 3 + LOOKS * 3


def test_object_that_answers_404_for_a_moment_is_no_failure(world: World) -> None:
    """Case 16: drives are out, and back."""
    world.store.faults.add(Fault.not_found(), on="read", key=new_key(2), times=4)
    ticks(world, SETTLE + 5)

    assert report_of(world)["canary_failed"] == 0
    assert world.run.state is RunState.RUNNING


def test_outage_while_an_object_is_looked_for_does_not_forget_it(world: World) -> None:
    """Nor does it count as a look."""
    world.store.app_delete(new_key(2))
    world.tick()
    world.later(5)
    world.store.faults.add(Fault.slow_down(), on="read", times=1)
    world.tick()
    world.later(SETTLE)
    world.tick()
    still = world.run.state
    world.later(5)
    world.tick()

    assert (still, world.run.state) == (RunState.RUNNING, RunState.PAUSED)


def test_row_that_is_switched_between_our_questions_is_read_again(world: World) -> None:
    """The service switches rows too: the object goes with its key."""
    original = world.store.read

    def read(key: str, **more: Any) -> Any:  # noqa: ANN401 - as the store's own
        if key == new_key(2):
            world.save_key(2, "up/2.png")
            world.store.app_delete(new_key(2))
        return original(key, **more)

    world.store.read = read  # type: ignore[method-assign] # ty: what happens in between
    world.tick()

    assert report_of(world)["canary_failed"] == 0


def test_asset_that_the_service_removed_is_no_failure(world: World) -> None:
    """The object goes first, its row within SETTLE_SECONDS; or the row names a key of its own by then."""
    for number in (1, 2):
        world.store.app_delete(new_key(number))
    ticks(world, 10)
    world.sql("DELETE FROM assets WHERE id = 1")
    world.sql("UPDATE assets SET object_key = 'other' WHERE id = 2")
    ticks(world, SETTLE + 5)

    assert report_of(world)["canary_failed"] == 0
    assert world.run.state is RunState.RUNNING


def test_object_that_is_refused_is_a_failure(world: World) -> None:
    """It HEADs fine and cannot be read; deletes are held from the first time on."""
    world.store.faults.add(Fault.refuse(DeniedError), on="read", key=new_key(3), times=None)
    world.tick()
    first = report_of(world)
    ticks(world, SETTLE + 5)

    assert (first["state"], "did not get the object that row [3] names: deletes are held" in first["stall"]) == ("running", True)
    assert world.run.state is RunState.PAUSED
    assert "row [3]: the object cannot be read (Denied" in report_of(world)["stall"]


@pytest.mark.parametrize("refusal", [DeniedError, StoreRequestError])
def test_store_that_refuses_while_it_starts_is_no_failure(refusal: type[ObjectError], world: World) -> None:
    """A MinIO that was restarted, or a gateway whose keys are rotated, knows no bucket and no login for a moment."""
    world.store.faults.add(Fault.refuse(refusal), on="read", times=5)
    ticks(world, SETTLE + 5)

    assert (report_of(world)["canary_failed"], world.run.state) == (0, RunState.RUNNING)


def test_store_that_does_not_answer_says_nothing_of_the_move(world: World) -> None:
    """An outage is waited out by every stage; nobody is woken for it."""
    world.store.faults.add(Fault.slow_down(), on="read", times=None)
    world.tick()
    report = report_of(world)

    assert (report["canary_reads"], report["canary_failed"], report["state"]) == (0, 0, "running")


@pytest.mark.parametrize(
    ("public", "state"),
    [(("up/",), "paused"), (("up/", "clients/"), "running"), ((), "running"), (("clients/",), "running")],
)
def test_readers_without_credentials_must_get_the_new_object_if_they_got_the_old(world: World, public: tuple[str, ...], state: str) -> None:
    """A bucket policy that names the old prefix alone breaks every link of a public site."""
    world.store.public = public
    world.tick()

    assert report_of(world)["state"] == state


def test_closed_prefix_is_seen_before_the_first_row_is_switched(tmp_path: Path) -> None:
    """A copy is enough to see it by."""
    world = World(tmp_path, settings=HELD)
    world.add(1)
    world.seed()
    world.do("copy")
    world.store.public = ("up/",)
    world.tick()

    assert (world.run.state, world.key(1)) == (RunState.PAUSED, "up/1.png")
    assert "anybody may read the old object, and not the new one" in report_of(world)["stall"]


def test_what_is_deleted_next_is_read_before_what_is_deleted_later(tmp_path: Path) -> None:
    """Of many, a few: the old objects that go first are the last chance."""
    world = World(tmp_path, settings=HELD | {"canary_reads": 4})
    for number in range(1, 41):
        world.add(number)
    world.moved()
    first = world.move(17).id
    world.set_columns(17, due_at=1)
    sampled = {move.id for move in world.context.canaries.sample(world.run, most=4)}

    assert first in sampled
    assert len(sampled) == 4


def test_finished_assets_are_read_too(tmp_path: Path) -> None:
    """All through the run: those that are deleted have nothing to fall back on."""
    world = World(tmp_path, settings={"canary_reads": 0, "grace_seconds": 0})
    for number in (1, 2):
        world.add(number)
    world.moved(up_to="delete")
    world.add(3)
    sampled = world.context.canaries.sample(world.run, most=10)

    assert {(move.id, move.state) for move in sampled} == {(1, MoveState.DELETED), (2, MoveState.DELETED)}
