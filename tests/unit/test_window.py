"""Moves that leave the ledger for the bucket: nothing is lost or doubled wherever it breaks off, and what is asked stays true."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import func, select

from app import archive, resources
from app.archive import ArchiveError
from app.database import transaction
from app.errors import RekeyError, StoreRequestError, StoreUnavailableError, UnansweredError, UsageError
from app.ledger.archiving import ArchiveLedger, archived
from app.ledger.reading import ReportLedger
from app.ledger.reopening import Selection
from app.reporting.lines import COLUMNS, jsonl_lines
from app.schema import moves
from app.states import MoveState
from app.testing.versions import LIKE_MINIO
from app.window import bring_back, new_session, take_out
from tasks import leaving
from tests.builders import World, make_settings
from tests.verifying import verified

ASSETS = 11
PART = 3


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A run that has ended, with moves of several fates."""
    world = World(tmp_path, LIKE_MINIO)
    for number in range(1, ASSETS - 2):
        world.add(number)
    world.add(ASSETS - 2, body=None)  # parked
    world.add(ASSETS - 1, f"clients/7/assets/{ASSETS - 1}.png")  # in place
    world.add(ASSETS, "up/4.png", body=None, client=8)  # of row 4's object
    world.go()
    return world


def told(world: World) -> tuple[bytes, dict[str, Any], object]:
    """All that an operator may ask: every line of the report, the counts, and what is held."""
    ledger = ReportLedger(world.engine, store=lambda: world.store)
    pages = ledger.pages(world.run, tuple(COLUMNS.values()), window=4)
    lines = b"".join(line for line, _ in jsonl_lines(pages, run_id=world.run.id))
    report = world.report()
    counts = {
        name: report[name] for name in ("rows", "deleted", "renamed", "copied", "in_place", "parked", "open", "parked_reasons", "not_kept")
    }
    return lines, counts, ledger.held(world.run)


def left(world: World) -> int:
    """How many moves the ledger has."""
    with transaction(world.engine, read_only=True) as connection:
        return int(connection.execute(select(func.count()).select_from(moves)).scalar_one())


def leave(world: World, **more: Any) -> int:  # noqa: ANN401 - as take_out has it
    """Let moves leave, three a part."""
    more = {"session": new_session(), "moves": PART, **more}
    return take_out(world.run, ledger=ArchiveLedger(world.engine), store=world.store, **more)


def test_what_has_left_is_told_as_before(world: World) -> None:
    """Status, report and what is held; what is parked stays."""
    before = told(world)
    assert leave(world) == ASSETS - 1

    assert left(world) == 1  # the parked one, which an operator may send on
    assert told(world) == before
    assert leave(world) == 0


def test_only_some_is_wanted_of_what_has_left(world: World) -> None:
    """A report of some outcomes, of which some have left and some have not."""
    leave(world)
    pages = ReportLedger(world.engine, store=lambda: world.store).pages(
        world.run, ("row_id", "state"), states=["parked", "in_place"], window=2
    )

    assert [tuple(row) for page in pages for row in page] == [("[10]", "in_place"), ("[9]", "parked")]  # by their new keys


def test_all_comes_back_as_it_was(world: World) -> None:
    """Row by row, and may leave again."""
    before, rows = told(world), world.moves()
    leave(world)
    assert bring_back(world.run, ledger=ArchiveLedger(world.engine), store=world.store) == ASSETS - 1

    assert (told(world), world.moves()) == (before, rows)
    assert ArchiveLedger(world.engine).find(world.run) is None
    assert leave(world) == ASSETS - 1  # and may leave again
    assert told(world) == before


@pytest.mark.parametrize("pages", [0, 1, 2, 4])
def test_what_comes_back_while_it_is_told_is_told_once(world: World, pages: int) -> None:
    """The record of what has left was read before; the objects stay, so both the bucket and the ledger have the moves then."""
    before = [move.id for move in world.moves()]
    leave(world)
    telling = ReportLedger(world.engine, store=lambda: world.store).pages(world.run, ("id", "state"), window=2)
    seen = [row.id for _ in range(pages) for row in next(telling)]
    bring_back(world.run, ledger=ArchiveLedger(world.engine), store=world.store)
    seen += [row.id for page in telling for row in page]

    assert seen == before


class KilledError(Exception):
    """The worker was killed here."""


def _killed_before_the_object(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.setattr(world.store, "put", _kill)


def _killed_after_the_object(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    put = world.store.put

    def act(*args: object, **more: object) -> None:
        put(*args, **more)
        raise KilledError

    monkeypatch.setattr(world.store, "put", act)


def _killed_before_it_is_read_back(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.setattr(world.store, "read", _kill)


def _killed_before_the_ledger(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.setattr(ArchiveLedger, "take_out", _kill)


def _killed_within_the_ledger(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.setattr("app.ledger.archiving._put", _kill)


def _killed_after_the_ledger(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    out = ArchiveLedger.take_out

    def act(*args: object) -> None:
        out(*args)
        raise KilledError

    monkeypatch.setattr(ArchiveLedger, "take_out", act)


def _kill(*_: object, **__: object) -> None:
    raise KilledError


STEPS = [
    _killed_before_the_object,
    _killed_after_the_object,
    _killed_before_it_is_read_back,
    _killed_before_the_ledger,
    _killed_within_the_ledger,
    _killed_after_the_ledger,
]


@pytest.mark.parametrize("first", [0, PART])
@pytest.mark.parametrize("step", STEPS)
def test_death_between_two_steps_loses_nothing_and_doubles_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, step: Callable[[pytest.MonkeyPatch, World], None], first: int
) -> None:
    """At the first part and at a later one; the next attempt ends it, and all can come back."""
    before = told(world)
    leave(world, goes_on=iter([True] * (first // PART) + [False]).__next__)
    with monkeypatch.context() as broken:
        step(broken, world)
        with pytest.raises(KilledError):
            leave(world)

    assert told(world) == before
    leave(world)
    assert (told(world), left(world)) == (before, 1)
    bring_back(world.run, ledger=ArchiveLedger(world.engine), store=world.store)
    assert (told(world), left(world)) == (before, ASSETS)


def test_object_that_is_not_what_was_written_keeps_the_ledger_as_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read back before any row goes."""
    before, put = told(world), world.store.put

    def spoil(key: str, body: bytes, *args: object, **more: object) -> object:
        return put(key, body[:-1] + b"?", *args, **more)

    with monkeypatch.context() as broken:
        broken.setattr(world.store, "put", spoil)
        with pytest.raises(ArchiveError):
            leave(world)

    assert (told(world), left(world)) == (before, ASSETS)


def test_write_whose_answer_is_lost_is_begun_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it left is nobody's part."""
    before, put = told(world), world.store.put

    def lose(*args: object, **more: object) -> None:
        put(*args, **more)
        raise UnansweredError("the answer is lost")

    with monkeypatch.context() as broken:
        broken.setattr(world.store, "put", lose)
        with pytest.raises(UnansweredError):
            leave(world)
    leave(world)

    assert (told(world), left(world)) == (before, 1)


def test_two_at_once_take_each_part_out_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one is faster while the first has its part written: what it wrote is nobody's part."""
    before, out = told(world), ArchiveLedger.take_out
    nested: list[int] = []

    def act(*args: object) -> bool:
        if not nested:
            nested.append(0)
            nested[0] = leave(world)
        return out(*args)

    monkeypatch.setattr(ArchiveLedger, "take_out", act)
    assert (leave(world), nested) == (0, [ASSETS - 1])

    assert (told(world), left(world)) == (before, 1)


def test_move_that_is_sent_on_again_keeps_its_run_in_the_ledger(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reopened between the part's writing and its leaving: nothing of it leaves, and its next end is told once."""
    out = ArchiveLedger.take_out

    def act(*args: object) -> bool:
        world.store.app_put("up/9.png", b"late")
        assert world.context.reopening.retry(world.run, Selection()).moves == 1
        return out(*args)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(ArchiveLedger, "take_out", act)
        assert leave(world) == 0
    world.go()
    before = told(world)
    assert leave(world) == ASSETS
    assert (told(world), left(world)) == (before, 0)


def test_run_with_moves_in_the_bucket_goes_on_and_ends_with_true_counts(world: World) -> None:
    """A parked asset is sent on after the others have left."""
    leave(world)
    world.store.app_put("up/9.png", b"late")
    world.context.reopening.retry(world.run, Selection())
    world.go()

    assert world.report()["deleted"] == ASSETS - 1
    assert (world.report()["rows"], world.report()["parked"], world.get(9)) == (ASSETS, 0, b"late")


def test_rollback_wants_the_moves_back_first(world: World) -> None:
    """It takes back all moves or none, and what was taken back stays in the ledger."""
    leave(world)
    origin = world.run
    with pytest.raises(UsageError, match="archive --back"):
        world.context.rollbacks.undoable(origin)
    with pytest.raises(UsageError, match="archive --back"):
        world.take_back(origin.id)
    bring_back(origin, ledger=ArchiveLedger(world.engine), store=world.store)
    world.take_back(origin.id)
    world.go()

    assert world.key(1) == "up/1.png"
    assert leave(world) == 0  # neither a rollback nor what it took back ever leaves
    assert ArchiveLedger(world.engine).ended_before(0) == []


def test_second_run_moves_nothing(world: World) -> None:
    """S9: it goes by the table, not by the moves of a run that is over."""
    leave(world)
    world.sql("DELETE FROM assets WHERE id = 9")
    sent = len(world.writes())
    world.run_id = ""
    world.go()

    assert (world.states(), len(world.writes())) == ({"in_place": ASSETS - 1}, sent)


def test_runs_leave_when_they_ended_long_ago(world: World) -> None:
    """By the database's clock."""
    ledger = ArchiveLedger(world.engine)
    assert ledger.ended_before(3600) == []
    world.later(3601)
    assert [run.id for run in ledger.ended_before(3600)] == [world.run.id]


def test_run_that_is_live_keeps_its_moves(tmp_path: Path) -> None:
    """Its seed and its checks go by them."""
    world = World(tmp_path, LIKE_MINIO)
    world.add(1)
    world.add(2, "clients/7/assets/2.png")
    world.moved()

    assert leave(world) == 0
    assert left(world) == 2


def test_report_without_the_store_says_what_it_needs(world: World) -> None:
    """In one line."""
    leave(world)
    with pytest.raises(UsageError, match="settings of the store"):
        list(ReportLedger(world.engine).pages(world.run, ("id",)))


def test_part_that_is_gone_or_cut_short_is_told(world: World) -> None:
    """No report looks whole that is not."""
    leave(world)
    with transaction(world.engine, read_only=True) as connection:
        record = archived(connection, world.run.id)
    assert record is not None
    key = archive.key_of(world.run.id, record.session_of(1), 1)
    whole = world.store.read(key, max_bytes=10**6).body
    assert whole is not None
    world.store.app_put(key, whole[:-9])
    with pytest.raises(ArchiveError, match="cut short"):
        told(world)


@pytest.mark.parametrize("back", [False, True])
def test_row_that_was_set_back_heals_by_a_move_in_the_ledger_alone(world: World, *, back: bool) -> None:
    """A later run finds where the bytes of a deleted key are by the move that took it away (H14); else `--repair` does."""
    leave(world)
    if back:
        bring_back(world.run, ledger=ArchiveLedger(world.engine), store=world.store)
    world.save_key(1, "up/1.png")
    world.sql("DELETE FROM assets WHERE id = 9")
    world.run_id = ""
    world.go()

    assert world.move(1).state is (MoveState.DELETED if back else MoveState.PARKED)
    assert world.key(1) == ("clients/7/assets/1.png" if back else "up/1.png")
    assert world.store.app_get("clients/7/assets/1.png") == b"v1"


def test_verification_finds_the_same(world: World) -> None:
    """Every outcome agrees as before, also where an object has come back to an old key."""
    world.store.app_put("up/2.png", b"again")
    before = verified(world, world.run)
    leave(world)
    after = verified(world, world.run)

    assert (after.kinds(), after.report["recount"]) == (before.kinds(), before.report["recount"])
    assert after.report["recount"]["deleted"]["ledger"] == ASSETS - 3 + 1


def test_workers_let_moves_leave_where_the_operator_wants_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """So long after the run's end, for a while at each tick; after a failure under another name, and not again before it is worth it."""
    _wanted(world, monkeypatch)
    assert leaving.leave() == []
    world.later(86_401)
    assert leaving.leave() == []  # it has just looked

    monkeypatch.setattr(leaving, "_idle_until", 0.0)
    session = leaving._session
    with monkeypatch.context() as broken:
        broken.setattr(world.store, "put", _refuse)
        assert leaving.leave() == ["stopped: the store is away"]
    assert (leaving._session != session, left(world)) == (True, ASSETS)
    _much_later(monkeypatch)
    assert leaving.leave() == [f"run {world.run.id[:8]}: {ASSETS - 1} moves have left the ledger"]
    monkeypatch.setattr(resources, "settings", make_settings)
    _much_later(monkeypatch)
    assert leaving.leave() == []


@pytest.mark.parametrize("error", [StoreRequestError("its bucket is gone"), StoreUnavailableError("its bucket is away")])
def test_run_whose_moves_cannot_leave_holds_up_no_younger_one(world: World, error: RekeyError, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its failure is said each time; the others' moves leave at the same tick, or at the next one where the store may be away for all."""
    _wanted(world, monkeypatch)
    first = world.run
    world.run_id = ""
    world.add(ASSETS + 1)
    world.go()
    world.later(86_401)
    second, put = world.run, world.store.put

    def refuse_the_first(key: str, *args: Any, **more: Any) -> Any:  # noqa: ANN401 - as the store's own
        if first.id in key:
            raise error
        return put(key, *args, **more)

    monkeypatch.setattr(world.store, "put", refuse_the_first)
    said = leaving.leave()
    _much_later(monkeypatch)
    said += leaving.leave()

    left_second = f"run {second.id[:8]}: {ASSETS} moves have left the ledger"  # all but the parked one
    assert sorted(said) == sorted([left_second, f"stopped: {error}", f"stopped: {error}"])


def _wanted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator wants moves to leave a day after their run."""
    monkeypatch.setattr(resources, "settings", lambda: make_settings(ledger_days=1))
    monkeypatch.setattr(resources, "engine", lambda: world.engine)
    monkeypatch.setattr(resources, "store", lambda *_, **__: world.store)
    monkeypatch.setattr(leaving, "_idle_until", 0.0)
    monkeypatch.setattr(leaving, "_failed", {})


def _much_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers' clock goes on by more than they leave a run alone that has failed."""
    now = leaving.time.monotonic()
    monkeypatch.setattr(leaving, "time", SimpleNamespace(monotonic=lambda: now + leaving.IDLE_SECONDS + 1))


def _refuse(*_: object, **__: object) -> None:
    raise StoreUnavailableError("the store is away")
