"""Taking a run back: by switching alone, by copying back, under every rule of a move; what can no longer be taken back (H18)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from app.ledger import rollbacks
from app.states import KeptReason, MoveState, ParkedReason, RunState
from app.testing.versions import CONDITIONAL, LIKE_MINIO
from tests.builders import ASSETS, World

if TYPE_CHECKING:
    from pathlib import Path

    from app.testing import Behaviour


@pytest.fixture(params=[CONDITIONAL, LIKE_MINIO], ids=["conditional", "minio"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """A store of each kind."""
    behaviour: Behaviour = request.param
    return World(tmp_path, behaviour)


def _moved(world: World, numbers: int, *, hold: bool = False) -> str:
    """A finished run over so many assets; its id."""
    for number in range(1, numbers + 1):
        world.add(number)
    if hold:
        world.context.steering.hold(world.run, hold=True)
    world.go()
    assert world.run.state is RunState.FINISHED
    return world.run_id


def _origin_states(world: World, origin: str) -> dict[int, MoveState]:
    run = world.context.runs.get(origin)
    return {move.id: move.state for move in world.context.moves.load(run, range(1, 100))}


def test_held_objects_come_back_by_switching_alone(world: World) -> None:
    """Nothing is written: the old objects are there as they were; the new ones go after a grace of their own."""
    origin = _moved(world, 3, hold=True)
    written = len(world.writes())
    world.take_back(origin)
    world.go()

    assert [world.key(number) for number in (1, 2, 3)] == ["up/1.png", "up/2.png", "up/3.png"]
    assert {name for name, *_ in world.writes()[written:]} == {"delete"}
    assert sorted(world.store.contents()) == ["up/1.png", "up/2.png", "up/3.png"]
    assert world.states() == {"deleted": 3}
    assert set(_origin_states(world, origin).values()) == {MoveState.ROLLED_BACK}


def test_object_that_a_reference_kept_comes_back_by_switching_alone(tmp_path: Path, behaviour: Behaviour) -> None:
    """It was named there before the run and is named there now: the row joins it again (H18)."""
    table = f"{ASSETS}; CREATE TABLE thumbs (file TEXT)"
    world = World(tmp_path, behaviour, table=table, settings={"references": ("thumbs.file",)})
    world.add(1)
    world.sql("INSERT INTO thumbs VALUES ('up/1.png')")
    world.go()
    before, written = world.states(), len(world.writes())
    world.take_back(world.run.id)
    world.go()

    assert before == {"kept": 1}
    assert (world.states(), world.parked(), world.key(1)) == ({"deleted": 1}, {}, "up/1.png")
    assert {name for name, *_ in world.writes()[written:]} == {"delete"}
    assert sorted(world.store.contents()) == ["up/1.png"]


def test_object_is_not_put_back_where_a_reference_waits_for_its_upload(tmp_path: Path, behaviour: Behaviour) -> None:
    """Nothing is at the old key any more: who names it since means another object (H5)."""
    table = f"{ASSETS}; CREATE TABLE thumbs (file TEXT)"
    world = World(tmp_path, behaviour, table=table, settings={"references": ("thumbs.file",)})
    world.add(1)
    world.go()
    world.sql("INSERT INTO thumbs VALUES ('up/1.png')")
    world.take_back(world.run.id)
    world.go()

    assert world.parked() == {ParkedReason.TARGET_EXISTS: 1}
    assert world.get(1) == b"v1"
    assert "up/1.png" not in world.store.contents()


def test_deleted_objects_are_copied_back(world: World) -> None:
    """What is at the new key now, also where the service has written there since."""
    origin = _moved(world, 2)
    world.store.app_put("clients/7/assets/2.png", b"v2")
    world.take_back(origin)
    world.go()

    assert [(world.key(number), world.get(number)) for number in (1, 2)] == [("up/1.png", b"v1"), ("up/2.png", b"v2")]
    assert sorted(world.store.contents()) == ["up/1.png", "up/2.png"]


def test_held_object_is_written_over_where_the_new_one_has_changed(world: World) -> None:
    """Switching alone would serve the old version (H18b)."""
    origin = _moved(world, 1, hold=True)
    world.store.app_put("clients/7/assets/1.png", b"v2")
    world.take_back(origin)
    world.go()

    assert (world.key(1), world.get(1)) == ("up/1.png", b"v2")


def test_old_key_that_was_used_again_is_not_written_over(world: World) -> None:
    """By a new asset's upload, whose row comes first or last: the rollback parks, and both objects stay (H18c)."""
    origin = _moved(world, 2)
    world.store.app_put("up/1.png", b"another asset")
    world.sql("INSERT INTO assets (id, client_id, object_key) VALUES (9, 9, 'up/2.png')")
    world.take_back(origin)
    world.go()

    assert world.report()["parked_reasons"] == {"target_exists": 2}
    assert [world.get(number) for number in (1, 2)] == [b"v1", b"v1"]
    assert world.store.app_get("up/1.png") == b"another asset"
    assert set(_origin_states(world, origin).values()) == {MoveState.DELETED}


def test_rows_that_went_on_are_left_alone(world: World) -> None:
    """Re-pointed, removed, set back by the service itself: none is touched."""
    origin = _moved(world, 3, hold=True)
    world.store.app_put("up/new.png", b"new")
    world.save_key(1, "up/new.png")
    world.sql("DELETE FROM assets WHERE id = 2")
    world.save_key(3, "up/3.png")
    world.take_back(origin)
    world.go()

    assert (world.key(1), world.key(3)) == ("up/new.png", "up/3.png")
    assert world.states().get("parked", 0) == 0
    assert world.store.app_get("up/3.png") == b"v1"


def test_few_moves_of_a_large_run_are_found_a_window_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No statement reads the whole run for the assets of a few clients: the server would end it (H30)."""
    monkeypatch.setattr(rollbacks, "WINDOW", 4)
    clients = {2: 3, 13: 9}
    for number in range(1, 16):
        world.add(number, client=clients.get(number, 7))  # moves are numbered in the order of the new keys
    world.go()
    origin, chosen = world.run_id, ["3", "9"]
    pages = world.context.rollbacks.pages(world.run, limit=2, clients=chosen)
    assert [[move.row_id for move in page] for page in pages] == [["[2]"], ["[13]"]]
    world.take_back(origin, clients=chosen)
    world.go()

    assert [number for number in range(1, 16) if world.key(number).startswith("up/")] == [2, 13]
    assert (world.run.state, world.report()["rows"]) == (RunState.FINISHED, 2)


def test_lost_new_object_is_healed_by_the_held_old_one(world: World) -> None:
    """The row cannot be read any more; what it named before can."""
    origin = _moved(world, 1, hold=True)
    world.store.app_delete("clients/7/assets/1.png")
    world.take_back(origin)
    world.go()

    assert (world.key(1), world.get(1)) == ("up/1.png", b"v1")


def test_object_that_is_lost_on_both_sides_is_reported(world: World) -> None:
    """Nothing is there to copy back."""
    origin = _moved(world, 1)
    world.store.app_delete("clients/7/assets/1.png")
    world.take_back(origin)
    world.go()

    assert world.move(1).reason is ParkedReason.MISSING_SOURCE


def test_lost_new_object_is_not_healed_by_what_came_to_the_old_key_since(world: World) -> None:
    """Somebody else's upload there, its row to come: the row must not name a stranger's bytes (H18c)."""
    origin = _moved(world, 1)
    world.store.app_delete("clients/7/assets/1.png")
    world.store.app_put("up/1.png", b"another asset")
    world.take_back(origin)
    world.go()

    assert world.key(1) == "clients/7/assets/1.png"
    assert world.move(1).reason is ParkedReason.MISSING_SOURCE


def test_chain_goes_back_in_the_right_order(world: World) -> None:
    """Row 2 left a key that row 1 then took: row 1 must leave it first (H18d, H19)."""
    context = world.context
    world.add(1, "clients/7/assets/2.png", client=8)
    world.add(2, "up/2.png", client=7)
    world.go()
    assert [world.key(number) for number in (1, 2)] == ["clients/8/assets/2.png", "clients/7/assets/2.png"]
    assert context.rules.template is not None
    world.take_back(world.run_id)
    world.go()

    assert [world.key(number) for number in (1, 2)] == ["clients/7/assets/2.png", "up/2.png"]
    assert world.states() == {"deleted": 2}


def test_selection_takes_back_those_clients_and_rows_only(world: World) -> None:
    """By client as the move knew it, and by a condition on the rows as they are."""
    world.add(1, client=7)
    world.add(2, client=8)
    world.add(3, client=8)
    world.go()
    world.take_back(world.run_id, clients=["8"], where="id < 3")
    rules = world.context.rules
    world.context = dataclasses.replace(world.worker(), rules=rules)
    object.__setattr__(world.context.assets, "_names", dataclasses.replace(world.context.assets._names, where="id < 3"))
    world.go()

    assert [world.key(number) for number in (1, 2, 3)] == ["clients/7/assets/1.png", "up/2.png", "clients/8/assets/3.png"]


def test_undoable_says_what_can_be_taken_back_and_how(world: World) -> None:
    """Held: by switching; deleted: by copying so many bytes; parked before the switch: nothing to do."""
    world.add(1)
    world.add(2, body=None)
    world.add(3, body=b"12345")
    world.moved()
    world.context.steering.allow_deletes(world.run, 1)
    world.go()
    found = world.context.rollbacks.undoable(world.run)

    assert (found.by_switch, found.by_copy, found.not_switched, found.total) == (1, 1, 1, 2)
    assert found.bytes_to_copy in {2, 5}


def test_undoable_counts_what_a_paused_run_has_switched(world: World) -> None:
    """A paused run is cancelled before its rollback: what waits for its grace is kept then, and can go back by switching."""
    for number in range(1, 5):
        world.add(number)
    world.seed()
    world.do("copy")
    world.do("rename", [1, 2, 3])
    world.context.runs.set_state(world.run, RunState.PAUSED, only_from=RunState.RUNNING)
    ledger = world.context.rollbacks
    found = ledger.undoable(world.run)
    paged = [move.id for page in ledger.pages(world.run, limit=2, clients=()) for move in page]

    assert (found.by_switch, found.by_copy, found.not_switched) == (3, 0, 1)
    assert paged == [1, 2, 3]


def test_rollback_that_is_cancelled_leaves_every_row_readable(world: World) -> None:
    """Some rows are back, the others stay where they are."""
    origin = _moved(world, 4, hold=True)
    world.take_back(origin)
    world.seed()
    world.do("copy")
    world.do("rename", [1, 2])
    world.context.reopening.cancel(world.run)
    world.go()

    assert [world.key(number)[:2] for number in range(1, 5)] == ["up", "up", "cl", "cl"]
    assert [world.get(number) for number in range(1, 5)] == [b"v1"] * 4
    assert world.states() == {"kept": 2, "cancelled": 2}
    assert [world.move(number).reason for number in (1, 2)] == [KeptReason.CANCELLED] * 2
    assert all(f"up/{number}.png" in world.store.contents() for number in range(1, 5))


def test_run_that_was_rolled_back_can_be_run_again(world: World) -> None:
    """Forward, back, forward: the table ends where it should, and no bytes are lost."""
    forward = world.context
    origin = _moved(world, 3)
    world.take_back(origin)
    world.go()
    world.context, world.run_id = forward, ""
    world.go()

    assert [(world.key(number), world.get(number)) for number in (1, 2, 3)] == [
        (f"clients/7/assets/{number}.png", b"v1") for number in (1, 2, 3)
    ]
    assert world.states() == {"deleted": 3}


def test_crash_after_the_copy_back_is_taken_for_our_own(world: World) -> None:
    """The copy at the old key is ours by the ledger's evidence (H12)."""
    origin = _moved(world, 1)
    world.take_back(origin)
    world.seed()
    lost = world.worker()
    lost = dataclasses.replace(lost, rules=world.context.rules)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    object.__setattr__(lost.moves, "record", die)
    with pytest.raises(KeyboardInterrupt):
        world.do("copy", worker=lost)
    world.later(61)
    world.go()

    assert (world.key(1), world.get(1)) == ("up/1.png", b"v1")
