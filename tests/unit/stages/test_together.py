"""Copies of one task that are under way together: each gets its own outcome, whatever becomes of the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.byte_budget import ByteBudget
from app.stages import copy_objects
from app.stages.ahead import TOGETHER, places
from app.states import MoveState, ParkedReason
from app.testing import Behaviour, Fault
from app.testing.versions import LIKE_MINIO
from tests.builders import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.copying import Steps
    from app.ledger.records import Move
    from app.object_store import Writing
    from app.stages.batch import Batch

WRITES = ("begin_put", "begin_copy")


class _Written:
    """A write under way, and a note of when its answer is taken."""

    def __init__(self, key: str, writing: Writing, notes: list[str]) -> None:
        self.key, self.writing, self.notes = key, writing, notes

    def result(self) -> Any:  # noqa: ANN401 - as the port's
        self.notes.append(f"taken {self.key[-5]}")
        return self.writing.result()


def _watch(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes of reads, of writes that are sent and of answers that are taken, each with the asset's number."""
    notes: list[str] = []
    for name in WRITES:
        begin = getattr(world.store, name)

        def begun(*values: Any, begin: Callable[..., Writing] = begin, **more: Any) -> _Written:  # noqa: ANN401 - as the port's
            key = next(value for value in values if isinstance(value, str))
            notes.append(f"sent {key[-5]}")
            return _Written(key, begin(*values, **more), notes)

        monkeypatch.setattr(world.store, name, begun)
    return notes


@pytest.fixture(params=[Behaviour(), LIKE_MINIO], ids=["conditional", "like-minio"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """A world whose tasks have several copies under way."""
    return World(tmp_path, behaviour=request.param, settings={"copy_concurrency": 100})


def _add(world: World, count: int = 3) -> None:
    for number in range(1, count + 1):
        world.add(number)


@pytest.mark.parametrize(
    ("concurrency", "own", "tasks"), [(100, 10, 10), (25, 8, 3), (16, 8, 2), (4, 2, 2), (3, 1, 3), (1, 1, 1), (400, 10, 40)]
)
def test_tasks_of_a_process_have_as_many_copies_under_way_as_its_concurrency(
    tmp_path: Path, concurrency: int, own: int, tasks: int
) -> None:
    """No more, and hardly less; two tasks at least, where that can be."""
    world = World(tmp_path, settings={"copy_concurrency": concurrency})

    assert places(world.context, world.run, "copy") == own <= TOGETHER
    assert concurrency // own == tasks
    assert places(world.context, world.run, "rename") == 1


def test_writes_are_sent_before_the_first_answer_is_taken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each waits for its own."""
    _add(world)
    notes = _watch(world, monkeypatch)
    world.moved(up_to="copy")

    assert notes == ["sent 1", "sent 2", "sent 3", "taken 1", "taken 2", "taken 3"]
    assert world.states() == {"copied": 3}


def test_no_more_copies_are_under_way_than_the_task_has_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The concurrency is a promise to the store."""
    world = World(tmp_path, settings={"copy_concurrency": 4})
    _add(world, 5)
    notes = _watch(world, monkeypatch)
    world.moved(up_to="copy")

    assert notes == ["sent 1", "sent 2", "taken 1", "taken 2", "sent 3", "sent 4", "taken 3", "taken 4", "sent 5", "taken 5"]


@pytest.mark.parametrize("rate", [0, 5], ids=["alone", "bounded"])
def test_run_whose_rate_is_bounded_has_one_copy_under_way(world: World, monkeypatch: pytest.MonkeyPatch, rate: int) -> None:
    """So that its requests are spread evenly, as the reconciler has asked for."""
    _add(world, 2)
    notes = _watch(world, monkeypatch)
    monkeypatch.setattr(world.context.watch, "rate", lambda _run, _stage: rate)
    world.moved(up_to="copy")

    assert notes[:2] == (["sent 1", "taken 1"] if rate else ["sent 1", "sent 2"])


def test_rollback_copies_one_after_the_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several of its moves may go back to one object: whoever is first writes it."""
    _add(world, 2)
    world.moved()
    world.go()
    world.take_back(world.run.id, rows=2)
    notes = _watch(world, monkeypatch)
    world.go()

    assert [note.partition(" ")[0] for note in notes][:4] == ["sent", "taken", "sent", "taken"]
    assert world.key(1) == "up/1.png"


def test_copies_that_are_under_way_are_few_where_objects_are_large(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store may lock an object whose reader lets it wait, and bodies take memory."""
    monkeypatch.setattr(copy_objects, "LARGE_TOGETHER", 20)
    for number in range(1, TOGETHER + 3):
        world.add(number, key=f"up/{number:02}.png", body=b"0123456789")
    notes = _watch(world, monkeypatch)
    world.moved(up_to="copy")
    sent = "".join(note[0] for note in notes)

    assert sent == "s" * TOGETHER + "t" * TOGETHER + "sstt"  # of ten bytes each: two together, once that was seen


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_reply_that_is_lost_is_its_own_moves_affair(world: World, monkeypatch: pytest.MonkeyPatch, lost: int) -> None:
    """The others, which were sent before that was known, get their outcomes; that one keeps its lease to the end (S7)."""
    _add(world)
    write = "copy" if world.store.capabilities.copy_if_absent else "put"
    world.store.faults.add(Fault.lose_reply(), on=write, key=f"clients/7/assets/{lost}.png")
    _watch(world, monkeypatch)
    ids = world.seed()
    result = world.do("copy", ids)
    moves = {number: world.move(number) for number in (1, 2, 3)}

    assert result.counts["unanswered"] == 1
    assert [number for number, move in moves.items() if move.state is MoveState.COPIED] == [n for n in (1, 2, 3) if n != lost]
    world.do("copy", [moves[lost].id])
    assert (world.move(lost).state, world.move(lost).suspect) == (MoveState.PLANNED, False)
    world.go()
    assert world.states() == {"deleted": 3}


def test_several_replies_may_be_lost(world: World) -> None:
    """As when the store's process ends: each of them keeps its lease."""
    _add(world)
    for write in ("copy", "put"):
        world.store.faults.add(Fault.lose_reply(), on=write, times=3)
    result = world.do("copy", world.seed())

    assert (result.counts["unanswered"], result.counts["copied"]) == (3, 0)
    world.go()
    assert world.states() == {"deleted": 3}


@pytest.mark.parametrize("refused", [1, 2, 3])
def test_refusal_is_its_own_moves_affair(world: World, refused: int) -> None:
    """A foreign object at one of the new keys, say."""
    _add(world)
    world.store.app_put(f"clients/7/assets/{refused}.png", b"theirs")
    world.moved(up_to="copy")

    assert world.move(refused).reason is ParkedReason.TARGET_EXISTS
    assert world.states() == {"copied": 2, "parked": 1}


def test_store_that_is_away_for_one_loses_no_other_copy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was under way is recorded, what was not begun goes back untouched."""
    _add(world)
    for write in ("copy", "put"):
        world.store.faults.add(Fault.slow_down(), on=write, key="clients/7/assets/2.png")
    _watch(world, monkeypatch)
    world.do("copy", world.seed())

    assert [world.move(number).state for number in (1, 2, 3)] == [MoveState.COPIED, MoveState.PLANNED, MoveState.COPIED]
    world.go()
    assert world.states() == {"deleted": 3}


def test_fault_of_ours_takes_no_outcome_of_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their answers are taken first, and a copy that was written is known to the next claim by its evidence (H12, H28)."""
    _add(world)
    taken: list[str] = []
    for name in WRITES:
        begin = getattr(world.store, name)

        def begun(*values: Any, begin: Callable[..., Writing] = begin, **more: Any) -> _Written:  # noqa: ANN401 - as the port's
            key = next(value for value in values if isinstance(value, str))
            if key.endswith("3.png") and len(taken) < 2:
                raise KeyError("a fault of ours")
            return _Written(key, begin(*values, **more), taken)

        monkeypatch.setattr(world.store, name, begun)
    with pytest.raises(KeyError, match="a fault of ours"):
        world.do("copy", world.seed())

    assert taken == ["taken 1", "taken 2"]
    world.go()
    assert world.states() == {"deleted": 3}


def test_worker_that_is_killed_takes_no_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does nothing more at all; another one finds the copies at the new keys."""

    class Killed(BaseException):
        pass

    _add(world)
    notes = _watch(world, monkeypatch)
    name = "begin_copy" if world.store.capabilities.copy_if_absent else "read"
    call = getattr(world.store, name)
    calls: list[str] = []

    def third(*values: Any, **more: Any) -> Any:  # noqa: ANN401 - as the port's
        calls.append("")
        if len(calls) == 3:
            raise Killed
        return call(*values, **more)

    monkeypatch.setattr(world.store, name, third)
    with pytest.raises(Killed):
        world.do("copy", world.seed())

    assert [note for note in notes if note.startswith("taken")] == []
    world.go()
    assert world.states() == {"deleted": 3}


def test_task_that_needs_room_in_memory_ends_what_holds_it_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tasks that each hold some and wait for more would wait for ever."""
    if world.store.capabilities.copy_if_absent:
        pytest.skip("the store copies by itself")
    _add(world)
    notes = _watch(world, monkeypatch)
    budget = ByteBudget(5)  # bodies have two bytes
    world.do("copy", world.seed(), worker=world.worker(budget=budget))

    assert notes == ["sent 1", "sent 2", "taken 1", "taken 2", "sent 3", "taken 3"]
    assert (budget.held, world.states()) == (0, {"copied": 3})


def test_copy_whose_outcome_has_to_be_read_waits_for_no_room_that_its_own_task_holds(world: World) -> None:
    """A refused one is compared with what is there, while others of the task are under way."""
    _add(world)
    world.store.app_put("clients/7/assets/1.png", b"v1")
    world.later(3600)
    budget = ByteBudget(6)
    world.do("copy", world.seed(), worker=world.worker(budget=budget))

    assert (budget.held, world.states()) == (0, {"copied": 3})


def test_long_copy_gives_back_only_what_is_not_under_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent for the others is theirs: given back, another worker would take them up meanwhile."""
    _add(world)
    notes = _watch(world, monkeypatch)
    left: list[int] = []
    write = copy_objects.write

    def slow(batch: Batch, move: Move, *looked: Any) -> Steps:  # noqa: ANN401 - what was looked at
        if move.row_id == "[2]":
            batch.part_from(move)
            left.append(len(batch.left))
        return (yield from write(batch, move, *looked))

    monkeypatch.setattr(copy_objects, "write", slow)
    world.do("copy", world.seed())

    assert left == [1]
    assert notes == ["sent 1", "taken 1", "sent 2", "taken 2"]
    assert [world.move(number).state for number in (1, 2, 3)] == [MoveState.COPIED, MoveState.COPIED, MoveState.PLANNED]


@pytest.mark.parametrize(("body", "held"), [(b"01", [10, 10]), (b"0123456789", [10, 2]), (b"0" * 30, [10, 1])], ids=len)
def test_task_leaves_the_room_that_large_objects_have_no_use_for_to_others(
    world: World, monkeypatch: pytest.MonkeyPatch, body: bytes, held: list[int]
) -> None:
    """Else a few tasks would hold all places, with few objects under way."""
    monkeypatch.setattr(copy_objects, "LARGE_TOGETHER", 20)
    for number in range(1, TOGETHER + 3):
        world.add(number, key=f"up/{number:02}.png", body=body)
    _watch(world, monkeypatch)
    seen: list[int] = []
    write = copy_objects.write

    def watched(batch: Batch, move: Move, *looked: Any) -> Steps:  # noqa: ANN401 - what was looked at
        if move.row_id in {"[1]", f"[{TOGETHER + 1}]"}:
            seen.append(world.context.crowd._working)
        return (yield from write(batch, move, *looked))

    monkeypatch.setattr(copy_objects, "write", watched)
    monkeypatch.setattr(world.context.crowd, "lend", lambda _wanted, **_: 0)
    world.moved(up_to="copy")

    assert seen == held
    assert world.context.crowd._working == 0


def test_copy_by_parts_leaves_the_room_of_its_task_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes long, and what was begun with it is over before."""
    world = World(tmp_path, behaviour=LIKE_MINIO, settings={"copy_concurrency": 100, "inline_bytes": 5 * 1024**2})
    world.add(1)
    world.add(2, body=bytes(5 * 1024**2 + 1))
    world.add(3)
    notes = _watch(world, monkeypatch)
    seen: list[tuple[int, str]] = []
    copy_part = world.store.copy_part

    def watched(*values: Any, **more: Any) -> str:  # noqa: ANN401 - as the port's
        seen.append((world.context.crowd._working, " ".join(notes)))
        return copy_part(*values, **more)

    monkeypatch.setattr(world.store, "copy_part", watched)
    world.moved(up_to="copy")

    assert seen == [(1, "sent 1 taken 1")]
    assert world.states() == {"copied": 3}
