"""Assets that the service removes (row first, then the object) while they are moved: nothing comes back, nothing is held up (H24)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.states import MoveState
from app.testing import Fault
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path

NEW_KEY = "clients/7/assets/1.png"


def remove(world: World) -> None:
    """What the service does: the row goes, then the object that it named."""
    key = world.key(1)
    world.sql("DELETE FROM assets WHERE id = 1")
    world.store.app_delete(key)


def test_removed_asset_stays_removed_when_it_goes_between_the_looks_at_rows_and_objects(tmp_path: Path) -> None:
    """A copy that is gone since its asset was removed is not written again: the row is asked after the object."""
    world = World(tmp_path)
    world.add(1)
    world.moved()
    world.later(61)

    def removed_just_before_the_look(name: str, _key: str) -> None:
        if name in {"stat", "list_page"}:
            world.store.on_call = None
            remove(world)

    world.store.on_call = removed_just_before_the_look
    world.do("delete")

    assert world.states() == {"kept": 1}
    assert world.store.contents() == {"up/1.png": b"v1"}


def test_old_object_is_kept_and_listed_when_the_service_removed_the_asset_after_the_switch(tmp_path: Path) -> None:
    """No row needs the old object, and no copy proves that it may go: it stays, which is no conflict of two versions."""
    world = World(tmp_path)
    world.add(1)
    world.moved()
    remove(world)
    world.go()
    move = world.move(1)

    assert (move.state, move.detail) == (MoveState.KEPT, "after the switch the row was removed, and our copy removed")
    assert world.store.contents() == {"up/1.png": b"v1"}


def test_old_object_is_kept_and_listed_when_the_service_replaced_the_asset_by_another_key(tmp_path: Path) -> None:
    """A row that was pointed elsewhere, and its former object removed, leave an old object that nobody needs."""
    world = World(tmp_path)
    world.add(1)
    world.moved()
    world.store.app_put("clients/7/assets/2.png", b"v2")
    world.save_key(1, "clients/7/assets/2.png")
    world.store.app_delete(NEW_KEY)
    world.go()

    assert world.states() == {"kept": 1}
    assert world.store.contents() == {"up/1.png": b"v1", "clients/7/assets/2.png": b"v2"}


def test_old_object_is_in_conflict_when_another_row_needs_the_copy_that_is_gone(tmp_path: Path) -> None:
    """A row that names the missing copy may need the old object's bytes: the operator decides."""
    world = World(tmp_path)
    world.add(1)
    world.moved()
    world.add(2, NEW_KEY, body=None)
    remove(world)
    world.go()

    assert MoveState.PARKED is world.move(1).state
    assert world.store.app_get("up/1.png") == b"v1"


def test_copy_is_listed_when_the_service_removed_row_and_old_object_after_the_switch(tmp_path: Path) -> None:
    """A service that removes an asset by the key that it had read before the switch leaves the copy; the report says so."""
    world = World(tmp_path)
    world.add(1)
    world.moved()
    world.sql("DELETE FROM assets WHERE id = 1")
    world.store.app_delete("up/1.png")
    world.go()
    move = world.move(1)

    assert MoveState.DELETED is move.state
    assert f"our copy was left at {NEW_KEY!r}" in (move.detail or "")


def test_copy_of_a_removed_row_is_removed_although_a_look_answers_404_once(world: World) -> None:
    """A present object may answer 404 for a moment (case 16): a copy taken for gone would stay, and nobody would know of it."""
    world.add(1)
    world.moved(up_to="copy")
    world.sql("DELETE FROM assets WHERE id = 1")
    world.store.faults.add(Fault.not_found(), on="stat", key=NEW_KEY, skip=1)
    world.do("rename")

    assert world.states() == {"superseded": 1}
    assert world.store.contents() == {"up/1.png": b"v1"}
    assert world.move(1).detail is None or "left at" not in world.move(1).detail
