"""The clean-up of a copy that no row names: what it says of a row that came to name it meanwhile (H23)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.errors import BadKeyError, DeniedError, StoreRequestError
from app.states import MoveState
from app.testing import Fault

if TYPE_CHECKING:
    from app.errors import ObjectError
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


@pytest.mark.parametrize("on", ["delete", "delete_key"])
@pytest.mark.parametrize("error", [StoreRequestError, BadKeyError])
@pytest.mark.parametrize("done", [True, False])
def test_copy_whose_removal_is_answered_by_an_error_is_looked_at(world: World, on: str, error: type[ObjectError], done: bool) -> None:  # noqa: FBT001 - a parameter
    """A 500 says nothing of the object: the list of what was left says what is there."""
    _cancelled(world)
    world.store.faults.add((Fault.answer if done else Fault.refuse)(error), on=on, key=N1)
    world.go()

    assert (N1 in world.store.contents(), world.move(1).state) == (not done, MoveState.CANCELLED)
    assert world.move(1).detail == (None if done else f"our copy was left at '{N1}'")


@pytest.mark.parametrize("fault", [Fault.slow_down(), Fault.refuse(DeniedError)])
def test_copy_that_nobody_can_look_at_after_such_an_answer_is_not_known(world: World, fault: Fault) -> None:
    """Neither left nor removed is true then."""
    _cancelled(world)
    world.store.faults.add(Fault.answer(StoreRequestError), on="delete_key", key=N1)
    world.store.on_call = lambda name, _key: world.store.faults.add(fault, on="stat", key=N1) if name == "delete" else None
    world.go()

    assert world.move(1).detail == f"perhaps our copy was left at '{N1}': the store answered its removal by an error of its own"


@pytest.mark.parametrize("looked", [True, False])
def test_row_that_is_set_to_the_copy_is_told_after_such_an_answer_too(world: World, looked: bool) -> None:  # noqa: FBT001 - a parameter
    """It names nothing, or perhaps nothing."""
    _cancelled(world)
    world.store.faults.add(Fault.answer(StoreRequestError), on="delete_key", key=N1)

    def set_by_hand(name: str, _key: str) -> None:
        if name == "delete":
            world.save_key(1, N1)
            if not looked:
                world.store.faults.add(Fault.slow_down(), on="stat", key=N1, times=2)

    world.store.on_call = set_by_hand
    world.go()

    said = "damage" if looked else "perhaps damage"
    assert str(world.move(1).detail).startswith(f"{said}: a row named '{N1}' while our copy there was removed")


def test_upload_that_came_after_such_an_answer_is_not_our_copy(world: World) -> None:
    """What is there is somebody else's, so nothing of ours was left."""
    _cancelled(world)
    world.store.faults.add(Fault.answer(StoreRequestError), on="delete_key", key=N1)
    deleted = False

    def upload(name: str, key: str) -> None:
        nonlocal deleted
        if deleted and (name, key) == ("stat", N1):
            world.store.app_put(N1, b"its own")
        deleted = deleted or name == "delete"

    world.store.on_call = upload
    world.go()

    assert (world.store.contents()[N1], world.move(1).detail) == (b"its own", None)
