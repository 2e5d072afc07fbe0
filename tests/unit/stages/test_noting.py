"""Deletes are noted in the journal before they are sent, and do not happen where that cannot be done (H15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app import journal
from app.errors import DeniedError, StoreUnavailableError
from app.states import MoveState, ParkedReason
from app.testing import Fault
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path

    from app.testing import Behaviour

GRACE = 60


@pytest.fixture
def world(tmp_path: Path, behaviour: Behaviour) -> World:
    """Three switched assets whose grace is over, with a journal."""
    world = World(tmp_path, behaviour, settings={"journal": True})
    for number in (1, 2, 3):
        world.add(number)
    world.moved()
    world.do("delete")  # stamps nothing new, looks once
    world.later(GRACE + 1)
    return world


def journalled(world: World) -> list[str]:
    """The row ids in the journal, each as often as it is there."""
    return sorted(entry.row_id for key in journal.keys(world.store) for entry in journal.read(world.store, key)[1])


def test_batch_is_noted_once_before_its_delete(world: World) -> None:
    """One PUT a batch, before the DeleteObjects; it names rows, keys and both versions."""
    copies = {number: world.store.stat(f"clients/7/assets/{number}.png") for number in (1, 2, 3)}
    sources = {number: world.store.stat(f"up/{number}.png") for number in (1, 2, 3)}
    before = len(world.writes())
    world.do("delete")

    (key,) = journal.keys(world.store)
    head, entries = journal.read(world.store, key)
    assert [name for name, _ in world.writes()[before:]] == ["put", "delete"]
    assert (head.run, head.table, head.bucket) == (world.run.id, "assets", "assets")
    assert [(entry.row_id, entry.old_key, entry.new_key) for entry in entries] == [
        (f"[{number}]", f"up/{number}.png", f"clients/7/assets/{number}.png") for number in (1, 2, 3)
    ]
    assert all(entry.copy.has_content_of(copies[number]) for number, entry in enumerate(entries, start=1))
    assert all(entry.source.has_content_of(sources[number]) for number, entry in enumerate(entries, start=1))
    assert world.states() == {"deleted": 3}


def test_nothing_is_noted_when_the_journal_is_off(tmp_path: Path, behaviour: Behaviour) -> None:
    """REKEY_JOURNAL=false: the bucket holds the assets and nothing else."""
    world = World(tmp_path, behaviour, settings={"journal": False})
    world.add(1)
    world.go()

    assert world.store.contents() == {"clients/7/assets/1.png": b"v1"}


def test_nothing_is_deleted_when_the_journal_is_denied(world: World) -> None:
    """No asset is parked for it: the moves wait, the status says why, and they go on once it is allowed."""
    world.store.faults.add(Fault.refuse(DeniedError), on="put", times=None)
    for _ in range(8):
        world.do("delete")
        world.later(31)

    assert world.states() == {"renamed": 3}
    assert "up/1.png" in world.store.contents()
    world.tick()
    assert "journal cannot be written" in world.report()["stall"]
    assert "REKEY_JOURNAL" in world.report()["stall"]

    world.store.faults.clear()
    world.go()
    assert world.states() == {"deleted": 3}
    assert journalled(world) == ["[1]", "[2]", "[3]"]


@pytest.mark.parametrize("fault", [Fault.lose_reply(), Fault.slow_down(), Fault.delay()])
def test_batch_is_given_back_when_the_journal_gets_no_answer(world: World, fault: Fault) -> None:
    """It deletes at a later attempt, and nothing is noted twice."""
    world.store.faults.add(fault, on="put")
    world.do("delete")
    assert world.states() == {"renamed": 3}
    assert [name for name, _ in world.writes() if name == "delete"] == []

    world.later(10)
    world.do("delete")

    assert world.states() == {"deleted": 3}
    assert journalled(world) == ["[1]", "[2]", "[3]"]


def test_batch_is_not_noted_again_when_its_delete_is_repeated(world: World) -> None:
    """The store was away for the delete alone: its intent is on record, and so is the journal."""
    world.store.faults.add(Fault.refuse(StoreUnavailableError("503")), on="delete", times=3)
    for _ in range(4):
        world.do("delete")
        world.later(10)

    assert world.states() == {"deleted": 3}
    assert [name for name, _ in world.writes()].count("put") == sum(1 for _ in journal.keys(world.store)) + _copies_by_put(world)
    assert journalled(world) == ["[1]", "[2]", "[3]"]


def _copies_by_put(world: World) -> int:
    return sum(1 for name, key in world.writes() if name == "put" and not key.startswith(".rekey/"))


def test_delete_waits_for_fresh_looks_when_the_journal_took_long(world: World) -> None:
    """A look is at most 5 s old when the delete is signed (S4): noted this time, deleted the next, without a second object."""
    slow = [True]

    def hold_up(name: str, key: str) -> None:
        if name == "put" and key.startswith(".rekey/") and slow.pop():
            world.later(6)

    world.store.on_call = hold_up
    world.do("delete")
    held = world.states()
    slow.append(False)
    world.later(1)
    world.do("delete")

    assert held == {"renamed": 3}
    assert world.states() == {"deleted": 3}
    assert journalled(world) == ["[1]", "[2]", "[3]"]


def test_late_write_is_noted_anew_when_the_delete_was_noted_before(world: World) -> None:
    """The copy is another one by then: the journal must know that."""
    world.store.faults.add(Fault.refuse(StoreUnavailableError("503")), on="delete")
    world.do("delete")
    world.store.app_put("up/1.png", b"late")
    world.later(40)
    for _ in range(6):
        world.do("delete")
        world.later(40)

    newest = {
        entry.row_id: entry.copy
        for key in sorted(journal.keys(world.store))
        for entry in journal.read(world.store, key)[1]
        if entry.copy.has_content_of(world.store.stat(entry.new_key))
    }
    assert world.states() == {"deleted": 3}
    assert world.get(1) == b"late"
    assert newest.keys() == {"[1]", "[2]", "[3]"}


def test_row_below_the_reserved_prefix_is_parked(tmp_path: Path, behaviour: Behaviour) -> None:
    """The product's own objects are nobody's assets, in whatever spelling the store folds."""
    world = World(tmp_path, behaviour)
    world.add(1, ".rekey/journal/x/y.jsonl")
    if behaviour.folds_leading_slash:
        world.add(2, "/.rekey/probe")
    world.add(3, "up/.rekey/3.png")
    world.seed()

    parked = {move.row_id: move.reason for move in world.moves() if move.state is MoveState.PARKED}
    assert parked == {f"[{number}]": ParkedReason.BAD_NAME for number in ((1, 2) if behaviour.folds_leading_slash else (1,))}
