"""The clean-up of a copy that no row names: what it says of a row that came to name it meanwhile (H23)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.states import MoveState
from app.testing import Fault

if TYPE_CHECKING:
    from tests.builders import World

O1, N1 = "up/1.png", "clients/7/assets/1.png"


def _cancelled(world: World) -> None:
    world.add(1)
    world.moved(up_to="copy")
    assert world.context.reopening.cancel(world.run)


def _set_by_hand(world: World) -> None:
    """Let somebody point the row to the copy just before the request that deletes it."""
    world.store.on_call = lambda name, _key: world.save_key(1, N1) if name == "delete" else None


def test_row_that_is_set_to_the_copy_while_that_is_removed_is_told(world: World) -> None:
    """The old object is there, and whoever reads the report can point the row to it again."""
    _cancelled(world)
    _set_by_hand(world)
    world.go()

    assert (world.key(1), sorted(world.store.contents())) == (N1, [O1])
    assert world.move(1).state is MoveState.CANCELLED
    assert str(world.move(1).detail).startswith(f"damage: a row named '{N1}' while our copy there was removed")


def test_nothing_is_told_of_a_row_whose_own_upload_came(world: World) -> None:
    """Where the delete took our copy for sure, what is there now is that row's. Elsewhere it might have taken an earlier upload."""
    _cancelled(world)
    _set_by_hand(world)
    deleted = False

    def upload(name: str, key: str) -> None:
        nonlocal deleted
        if name == "delete":
            world.save_key(1, N1)
            deleted = True
        elif deleted and (name, key) == ("stat", N1):
            world.store.app_put(N1, b"its own")

    world.store.on_call = upload
    world.go()

    if world.store.capabilities.delete_if_match:
        assert (world.get(1), world.move(1).detail) == (b"its own", None)
    else:
        assert "damage" in str(world.move(1).detail)


@pytest.mark.parametrize("behaviour", ["conditional"], indirect=True)
def test_row_is_told_where_the_store_does_not_say_what_is_there(world: World) -> None:
    """An outage just then is no reason to be silent: there is no second chance to notice."""
    _cancelled(world)
    deleted = False

    def fail(name: str, _key: str) -> None:
        nonlocal deleted
        if name == "delete":
            world.save_key(1, N1)
            deleted = True
        elif deleted and name == "stat":
            world.store.on_call = None
            world.store.faults.add(Fault.slow_down(), on="stat", key=N1)

    world.store.on_call = fail
    world.go()

    assert "damage" in str(world.move(1).detail)
