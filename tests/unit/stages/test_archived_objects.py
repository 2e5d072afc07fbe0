"""Archived objects: parked with a list to thaw, moved once they are thawed, and readable at the new key (case 13)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from app.ledger.reopening import Selection
from app.states import MoveState, ParkedReason

if TYPE_CHECKING:
    from tests.builders import World

O1, N1 = "up/1.png", "clients/7/assets/1.png"


def _retry(world: World) -> None:
    world.context.reopening.retry(world.run, Selection(reasons=[ParkedReason.ARCHIVED]))


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_case_13_archived_object_is_parked_and_the_others_move(world: World, storage_class: str) -> None:
    """One of three refuses with InvalidObjectState: nothing of it is touched, and the run ends."""
    for number in (1, 2, 3):
        world.add(number)
    world.store.app_put(O1, b"cold", {"x-amz-storage-class": storage_class})
    world.go()

    assert (world.states(), world.parked()) == ({"parked": 1, "deleted": 2}, {"archived": 1})
    assert (world.key(1), world.move(1).attempts, world.move(1).parked_from) == (O1, 0, MoveState.PLANNED)
    assert N1 not in world.store.contents()
    assert "InvalidObjectState" in str(world.move(1).detail)


def test_thawed_object_moves_and_stays_readable(world: World) -> None:
    """`retry` takes it up again; its copy does not go back into the archive, where nobody could read it (S1)."""
    world.add(1, body=None)
    world.store.app_put(O1, b"cold", {"x-amz-storage-class": "GLACIER", "content-type": "image/png"})
    world.go()
    world.store.app_thaw(O1)
    _retry(world)
    world.go()

    assert (world.states(), world.get(1)) == ({"deleted": 1}, b"cold")
    assert world.store.read(N1, max_bytes=10).body == b"cold"
    assert world.store.versions(N1)[-1].headers == {"content-type": "image/png"}


def test_object_that_was_archived_after_its_copy_is_deleted(world: World) -> None:
    """A lifecycle rule put the old object away meanwhile: its version is the one that was copied."""
    world.add(1)
    world.moved()
    archived = dataclasses.replace(world.store.versions(O1)[-1], headers={"x-amz-storage-class": "GLACIER"})
    world.store._bucket.replace_current(O1, archived)
    world.later(100)
    world.go()

    assert (world.states(), world.get(1)) == ({"deleted": 1}, b"v1")
