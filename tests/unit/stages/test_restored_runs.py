"""A database restored in mid-run forgets deletes: the run goes on, and removes no copy whose original it has deleted itself (H15)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from app import journal
from app.errors import DeniedError
from app.states import RunState
from app.testing import Fault
from tests.builders import World
from tests.verifying import repaired

if TYPE_CHECKING:
    from pathlib import Path

    from app.testing import Behaviour

O1, N1 = "up/1.png", "clients/7/assets/1.png"


@pytest.fixture
def world(tmp_path: Path, behaviour: Behaviour) -> World:
    """Two assets that were moved to the end, and a database from when their copies were made."""
    world = World(tmp_path, behaviour, settings={"journal": True, "grace_seconds": 0, "settle_seconds": 1})
    world.add(1)
    world.add(2)
    world.moved(up_to="copy")
    _back_up(tmp_path / "world.db", tmp_path / "older.db")
    world.go()
    assert world.states() == {"deleted": 2}
    _back_up(tmp_path / "older.db", tmp_path / "world.db")
    world.later(100)
    return world


def _back_up(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def test_copy_whose_original_this_run_deleted_is_not_removed(world: World) -> None:
    """The ledger says copied, the source is missing: without the journal that is an asset that was taken down, and its copy goes."""
    world.go()

    assert world.parked() == {"missing_source": 2}
    assert world.store.contents().keys() >= {N1, "clients/7/assets/2.png"}
    assert "left" in str(world.move(1).detail)
    assert repaired(world)["healed"] == 2
    assert world.get(1) == b"v1"


def test_copy_stays_while_the_delete_of_its_original_is_under_way(tmp_path: Path, behaviour: Behaviour) -> None:
    """The original is still there when the restored run is cancelled; but its delete was noted, and has been sent."""
    world = World(tmp_path, behaviour, settings={"journal": True, "grace_seconds": 0, "settle_seconds": 1})
    world.add(1)
    world.moved(up_to="copy")
    _back_up(tmp_path / "world.db", tmp_path / "older.db")
    world.do("rename")
    world.store.faults.add(Fault.delay(), on="delete", key=O1)
    world.do("delete")
    _back_up(tmp_path / "older.db", tmp_path / "world.db")
    world.context.runs.set_state(world.run, RunState.CANCELLED, only_from=RunState.RUNNING)
    world.do("rename")
    (late,) = world.store.delayed
    late.deliver()

    assert world.states() == {"cancelled": 1}
    assert world.store.contents()[N1] == b"v1"
    assert O1 not in world.store.contents()
    assert "left" in str(world.move(1).detail)


def test_copy_is_not_removed_by_a_cancellation_either(world: World) -> None:
    """The restored run is cancelled before anybody has repaired the table."""
    world.context.runs.set_state(world.run, RunState.CANCELLED, only_from=RunState.RUNNING)
    for _ in range(20):
        for stage, ids in world.tick().messages:
            world.do(stage.name, ids)
        world.later(5)

    assert world.store.contents().keys() >= {N1, "clients/7/assets/2.png"}


@pytest.mark.parametrize("trouble", ["denied", "too many", "foreign"])
def test_copy_stays_when_the_journal_cannot_be_read_whole(world: World, monkeypatch: pytest.MonkeyPatch, trouble: str) -> None:
    """What may have been deleted is not removed a second time."""
    for key in list(journal.keys(world.store)):
        if trouble == "denied":
            world.store.faults.add(Fault.refuse(DeniedError), on="read", key=key, times=None)
        elif trouble == "too many":
            monkeypatch.setattr(journal, "MOST_READ", 0)
        else:
            world.store.app_put(key, b"not ours")
    world.go()

    assert world.store.contents().keys() >= {N1, "clients/7/assets/2.png"}


def test_copy_of_an_asset_that_was_taken_down_is_removed(tmp_path: Path, behaviour: Behaviour) -> None:
    """The journal of the run knows nothing of it (H24)."""
    world = World(tmp_path, behaviour, settings={"journal": True, "grace_seconds": 0, "settle_seconds": 1})
    world.add(1)
    world.add(2)
    world.seed()
    world.do("copy")
    world.do("rename", [2])
    world.do("delete", [2])
    assert list(journal.keys(world.store))
    world.store.app_delete(O1)
    world.go()

    assert world.parked() == {"missing_source": 1}
    assert N1 not in world.store.contents()
