"""Deletes are noted in the journal before they are sent, and do not happen where that cannot be done (H15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app import journal
from app.errors import DeniedError, StoreFullError, StoreUnavailableError
from app.stages import noting
from app.stages.noting import FIRST_OUT
from app.stages.seed_moves import seed_moves
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


def full_world(folder: Path, behaviour: Behaviour, *, assets: int, marked: bool = True) -> World:
    """Switched assets without a grace, of a run that has a mark in the bucket unless it could not make one."""
    world = World(folder, behaviour, settings={"journal": True, "grace_seconds": 0})
    for number in range(1, assets + 1):
        world.add(number)
    if marked:
        world.want_mark()
    world.moved()
    return world


def test_full_store_lets_a_few_go_first_and_notes_them_when_there_is_room(tmp_path: Path, behaviour: Behaviour) -> None:
    """The journal takes room too: were all to wait for it, nothing would ever make any (case 23)."""
    world = full_world(tmp_path, behaviour, assets=FIRST_OUT + 3)
    world.store.faults.add(Fault.refuse(StoreFullError("XMinioStorageFull")), on="put")
    world.do("delete")
    first, noted = world.states(), journalled(world)
    world.go()

    assert first == {"deleted": FIRST_OUT, "renamed": 3}
    assert len(noted) == FIRST_OUT
    assert world.states() == {"deleted": FIRST_OUT + 3}
    assert len(journalled(world)) == FIRST_OUT + 3


def test_mark_of_a_whole_journal_goes_before_what_is_not_noted(
    tmp_path: Path, behaviour: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever reads the journal later must know that it may lack a delete, before there is one; the log says which."""
    world = full_world(tmp_path, behaviour, assets=2)
    world.store.faults.add(Fault.refuse(StoreFullError("XMinioStorageFull")), on="put", times=None)
    world.go()
    deletes = [key for name, key in world.writes() if name == "delete"]
    mark = world.run.journal_mark

    assert world.states() == {"deleted": 2}
    assert journalled(world) == []
    assert deletes.index(str(mark)) < deletes.index("up/1.png")
    assert journal.may_have(world.store, run=world.run_id, marked_by=mark, row_id="[1]", old_key="up/1.png")
    assert any("[1]" in record.getMessage() and "not in the journal" in record.getMessage() for record in caplog.records)


def test_mark_that_is_not_found_for_a_moment_is_taken_away_all_the_same(tmp_path: Path, behaviour: Behaviour) -> None:
    """A present object may answer 404 while drives are out (case 16)."""
    world = full_world(tmp_path, behaviour, assets=1)
    world.store.faults.add(Fault.refuse(StoreFullError("XMinioStorageFull")), on="put", times=2)
    world.store.faults.add(Fault.not_found(), on="stat", key=world.run.journal_mark)
    world.do("delete")

    assert (world.states(), journalled(world)) == ({"deleted": 1}, [])
    assert world.run.journal_mark not in world.store.contents()


def test_seed_that_comes_too_late_marks_nothing(tmp_path: Path, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was stopped when it was about to, and the run has let something go meanwhile that the journal does not say."""
    world = World(tmp_path, behaviour, settings={"journal": True, "grace_seconds": 0})
    world.add(1)
    world.want_mark()

    def put_mark(*given: Any, deadline: Any) -> None:  # noqa: ANN401 - as the one that it stands for
        monkeypatch.undo()
        world.moved()
        world.store.faults.add(Fault.refuse(StoreFullError("XMinioStorageFull")), on="put", times=2)
        world.go()
        assert (world.states(), journalled(world)) == ({"deleted": 1}, [])
        journal.put_mark(*given, deadline=deadline)

    monkeypatch.setattr(noting, "put_mark", put_mark)
    seeded = seed_moves(world.run, context=world.worker())

    assert seeded.summary == "another seed was faster"
    assert [key for key in world.store.contents() if key.startswith(journal.MARK_PREFIX)] == []
    assert journal.may_have(world.store, run=world.run_id, marked_by=world.run.journal_mark, row_id="[1]", old_key="up/1.png")


def test_whole_journal_that_says_nothing_of_a_key_is_believed(tmp_path: Path, behaviour: Behaviour) -> None:
    """The mark is there: nothing was deleted that is not noted."""
    world = full_world(tmp_path, behaviour, assets=2)
    world.go()

    assert world.states() == {"deleted": 2}
    known = {"run": world.run_id, "marked_by": world.run.journal_mark}
    assert journal.may_have(world.store, **known, row_id="[1]", old_key="up/1.png")
    assert not journal.may_have(world.store, **known, row_id="[1]", old_key="up/other.png")


def test_run_that_moves_nothing_leaves_no_mark(tmp_path: Path, behaviour: Behaviour) -> None:
    """A second run changes nothing in the bucket (S9); the first one has made its mark before it had a move."""
    world = full_world(tmp_path, behaviour, assets=2)
    first = [key for name, key in world.writes() if key.startswith(journal.MARK_PREFIX)]
    world.go()
    world.run_id = ""
    world.want_mark()
    written = len(world.writes())
    world.go()

    assert len(first) == 1
    assert world.states() == {"in_place": 2}
    assert world.writes()[written:] == []


@pytest.mark.parametrize("why", ["no mark", "mark cannot be removed"])
def test_nothing_is_deleted_that_nobody_could_know_to_be_missing_in_the_journal(tmp_path: Path, behaviour: Behaviour, why: str) -> None:
    """All wait for room, and go on when there is some."""
    world = full_world(tmp_path, behaviour, assets=2, marked=why != "no mark")
    world.store.faults.add(Fault.refuse(StoreFullError("XMinioStorageFull")), on="put", times=None)
    if why != "no mark":
        world.store.faults.add(Fault.refuse(DeniedError), on="delete_key", key=str(world.run.journal_mark), times=None)
    for _ in range(5):
        world.do("delete")
        world.later(3)
    waiting = world.states()
    world.store.faults.clear()
    world.go()

    assert waiting == {"renamed": 2}
    assert (world.states(), journalled(world)) == ({"deleted": 2}, ["[1]", "[2]"])
