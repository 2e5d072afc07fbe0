"""Taking back the moves of an object that several rows named: each row names it again, unless its copy has become another (H29)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from app.ledger.reopening import Selection
from app.states import MoveState, ParkedReason, RunState
from app.testing.versions import CONDITIONAL, LIKE_MINIO
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path

    from app.testing import Behaviour

SHARED = "up/shared.png"


@pytest.fixture(params=[CONDITIONAL, LIKE_MINIO], ids=["conditional", "minio"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """A store of each kind."""
    behaviour: Behaviour = request.param
    return World(tmp_path, behaviour)


def _moved(world: World, *, rows: int = 3, hold: bool = False, spelled: str = SHARED) -> str:
    """A finished run over one object that as many clients' rows name; the run's id."""
    world.add(1, SHARED, client=1)
    for number in range(2, rows + 1):
        world.add(number, spelled, client=number, body=None)
    if hold:
        world.context.steering.hold(world.run, hold=True)
    world.go()
    assert [world.key(number) for number in range(1, rows + 1)] == [f"clients/{number}/assets/shared.png" for number in range(1, rows + 1)]
    return world.run_id


def _new(number: int) -> str:
    return f"clients/{number}/assets/shared.png"


def test_all_rows_of_a_deleted_object_name_it_again(world: World) -> None:
    """One of them copies it back, the others find it put back; each new object goes after its own grace."""
    origin = _moved(world)
    assert sorted(world.store.contents()) == [_new(1), _new(2), _new(3)]
    world.take_back(origin)
    world.go()

    assert [(world.key(number), world.get(number)) for number in (1, 2, 3)] == [(SHARED, b"v1")] * 3
    assert world.store.contents().keys() == {SHARED}
    assert world.states() == {"deleted": 3}


def test_all_rows_of_a_held_object_name_it_again_and_nothing_is_written(world: World) -> None:
    """The object is there as it was copied."""
    origin = _moved(world, hold=True)
    written = len(world.writes())
    world.take_back(origin)
    world.go()

    assert [(world.key(number), world.get(number)) for number in (1, 2, 3)] == [(SHARED, b"v1")] * 3
    assert {name for name, *_ in world.writes()[written:]} == {"delete"}
    assert world.states() == {"deleted": 3}


def test_other_spelling_of_a_shared_key_comes_back_as_it_was(tmp_path: Path) -> None:
    """Two spellings that the store takes for one object (H6)."""
    world = World(tmp_path, LIKE_MINIO)
    origin = _moved(world, rows=2, spelled="/" + SHARED)
    world.take_back(origin)
    world.go()

    assert [(world.key(number), world.get(number)) for number in (1, 2)] == [(SHARED, b"v1"), ("/" + SHARED, b"v1")]
    assert world.states() == {"deleted": 2}


@pytest.mark.parametrize("hold", [False, True], ids=["deleted", "held"])
@pytest.mark.parametrize("changed", [1, 2])
def test_asset_whose_copy_has_changed_since_does_not_share_again(world: World, changed: int, *, hold: bool) -> None:
    """Two assets by now: one of them gets the old key, the other one stays moved, and each row has its own newest bytes."""
    origin = _moved(world, rows=2, hold=hold)
    world.store.app_put(_new(changed), b"v2")
    world.take_back(origin)
    world.go()

    assert world.get(changed) == b"v2"
    assert world.get(3 - changed) == b"v1"
    assert sorted([world.key(1) == SHARED, world.key(2) == SHARED]) == [False, True]
    assert world.states() == {"deleted": 1, "parked": 1}
    assert world.report()["parked_reasons"] == {"target_exists": 1}


def test_row_that_never_left_the_object_does_not_stand_in_the_way(world: World) -> None:
    """It was parked before the copy: its object stayed, and the others may name it again."""
    world.add(1, SHARED, client=1)
    world.add(2, SHARED, client=2, body=None)
    world.store.app_put("clients/2/assets/shared.png", b"somebody else's")
    world.go()
    assert world.parked() == {"target_exists": 1}
    assert world.move(1).state is MoveState.KEPT
    world.take_back(world.run_id)
    world.go()

    assert [world.key(1), world.key(2)] == [SHARED, SHARED]
    assert world.get(1) == b"v1"
    assert world.states() == {"deleted": 1}


@pytest.mark.parametrize("hold", [False, True], ids=["deleted", "held"])
def test_row_that_came_to_the_old_key_since_stands_in_the_way_of_all(world: World, *, hold: bool) -> None:
    """A new asset's row, or one that had left the object and was set back by the service: its upload may be to come (H5, H18)."""
    origin = _moved(world, rows=2, hold=hold)
    world.sql("INSERT INTO assets (id, client_id, object_key) VALUES (9, 9, :key)", key=SHARED)
    world.take_back(origin)
    world.go()

    assert [(world.key(number), world.get(number)) for number in (1, 2)] == [(_new(1), b"v1"), (_new(2), b"v1")]
    assert world.report()["parked_reasons"] == {"target_exists": 2}


def test_row_that_the_service_has_set_back_itself_stands_in_the_way(world: World) -> None:
    """Nobody knows why it names the key again; it may be another asset's by now."""
    origin = _moved(world, rows=2)
    world.save_key(2, SHARED)
    world.take_back(origin)
    world.go()

    assert world.key(1) == _new(1)
    assert world.get(1) == b"v1"
    assert world.move(1).reason is ParkedReason.TARGET_EXISTS


def test_follower_waits_for_the_record_of_a_copy_that_was_just_written(world: World) -> None:
    """The object is there, but nothing says yet whose it is: the worker that wrote it has not recorded it."""
    origin = _moved(world, rows=2)
    world.take_back(origin)
    first, second = world.seed()
    dead = dataclasses.replace(world.worker(), rules=world.context.rules)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    object.__setattr__(dead.moves, "record", die)
    with pytest.raises(KeyboardInterrupt):
        world.do("copy", [first], worker=dead)
    assert world.store.app_get(SHARED) == b"v1"
    world.do("copy", [second])
    assert world.move(2).state is MoveState.PLANNED
    world.go()

    assert [(world.key(number), world.get(number)) for number in (1, 2)] == [(SHARED, b"v1")] * 2
    assert world.states() == {"deleted": 2}


def test_copy_that_another_move_relies_on_is_not_removed(world: World) -> None:
    """The move that wrote it cannot be switched; the one that found it put back can (S4)."""
    origin = _moved(world, rows=2)
    world.take_back(origin)
    first, second = world.seed()
    world.do("copy", [first, second])
    assert [world.move(number).copy_recorded for number in (1, 2)] == [True, False]
    world.save_key(1, "up/elsewhere.png")
    world.do("rename", [first])
    assert world.move(1).state is MoveState.SUPERSEDED
    assert "left" in (world.move(1).detail or "")
    world.go()

    assert (world.key(2), world.get(2)) == (SHARED, b"v1")
    assert world.move(2).state is MoveState.DELETED


def test_write_to_the_shared_object_during_the_rollback_is_not_taken_for_the_others(world: World) -> None:
    """The first row is back and its service writes; the second asset never had these bytes."""
    origin = _moved(world, rows=2)
    world.take_back(origin)
    first, second = world.seed()
    world.do("copy", [first, second])
    world.do("rename", [first])
    world.store.app_put(SHARED, b"v2")
    world.do("rename", [second])
    world.go()

    assert [world.get(1), world.get(2)] == [b"v2", b"v1"]
    assert (world.key(2), world.move(2).reason) == (_new(2), ParkedReason.TARGET_EXISTS)


def test_retry_sends_a_follower_on(world: World) -> None:
    """It has no claim on the key while the other one has; when it is parked and sent on again neither has it."""
    origin = _moved(world, rows=2)
    world.store.app_put(SHARED, b"in the way")
    world.take_back(origin)
    world.go()
    assert world.report()["parked_reasons"] == {"target_exists": 2}
    world.store.app_delete(SHARED)
    sent = world.context.reopening.retry(world.run, Selection())
    assert (sent.moves, sent.blocked) == (2, 0)
    assert [move.follows for move in world.moves()] == [False, True]
    world.go()

    assert [(world.key(number), world.get(number)) for number in (1, 2)] == [(SHARED, b"v1")] * 2


def test_forward_again_after_a_shared_rollback(world: World) -> None:
    """There, back and there again: every row has its own copy, and the shared object goes with the last."""
    forward = world.context
    origin = _moved(world)
    world.take_back(origin)
    world.go()
    world.context, world.run_id = forward, ""
    world.go()

    assert [(world.key(number), world.get(number)) for number in (1, 2, 3)] == [(_new(number), b"v1") for number in (1, 2, 3)]
    assert world.store.contents().keys() == {_new(1), _new(2), _new(3)}
    assert world.states() == {"deleted": 3}


def test_cancelled_shared_rollback_leaves_every_row_readable(world: World) -> None:
    """Whatever it had put back stays where a row may name it, and is listed."""
    origin = _moved(world)
    world.take_back(origin)
    ids = world.seed()
    world.do("copy", ids)
    world.do("rename", ids[:1])
    world.context.reopening.cancel(world.run)
    world.go()

    assert world.run.state is RunState.CANCELLED
    assert [world.key(number) for number in (1, 2, 3)] == [SHARED, _new(2), _new(3)]
    assert [world.get(number) for number in (1, 2, 3)] == [b"v1"] * 3
