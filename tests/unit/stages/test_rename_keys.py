"""The rename stage: a row is switched only as it was planned, to a copy that is still ours, in one transaction (S5)."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, exc

from app.errors import DatabaseUnavailableError, DeniedError, LockedError, OutcomeUnknownError, RolledBackError
from app.stages import rename_keys
from app.states import MoveState, ParkedReason
from app.testing import Fault
from app.testing.versions import CONDITIONAL, LIKE_MINIO
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path

    from app.stages.context import Context
    from app.testing import Behaviour

O1, N1 = "up/1.png", "clients/7/assets/1.png"


@pytest.fixture
def behaviour() -> Behaviour:
    """Only the requests of a clean-up differ by store, and those have the copy stage's and delete stage's tests."""
    return LIKE_MINIO


def _copied(world: World) -> None:
    world.add(1)
    world.moved(up_to="copy")
    assert world.move(1).state is MoveState.COPIED


def test_row_names_its_copy_and_the_old_object_stays(world: World) -> None:
    """After the switch readers get the same bytes at the new key, and those who still have the old key get them too."""
    _copied(world)
    world.do("rename")

    assert world.key(1) == N1
    assert world.store.contents() == {O1: b"v1", N1: b"v1"}
    assert world.move(1).state is MoveState.RENAMED
    assert world.move(1).switched_at is not None


def test_only_the_key_column_is_written(world: World) -> None:
    """An edit of another column between copy and switch survives (case 29a)."""
    _copied(world)
    world.sql("UPDATE assets SET title = 'edited' WHERE id = 1")
    world.do("rename")

    assert list(world.sql("SELECT client_id, object_key, title FROM assets")) == [(7, N1, "edited")]


def test_source_overwritten_before_the_switch_is_copied_again(world: World) -> None:
    """A changed old object is never switched away from: the row gets its newest bytes (S2)."""
    _copied(world)
    world.later(3)
    world.store.app_put(O1, b"v2")
    world.do("rename")

    assert world.key(1) == O1
    assert world.move(1).state is MoveState.PLANNED
    world.go()
    assert world.get(1) == b"v2"
    assert world.states() == {"deleted": 1}


def test_header_change_before_the_switch_is_copied_again(world: World) -> None:
    """A mended content type has the same ETag and a later time (H21, M7)."""
    _copied(world)
    world.later(3)
    world.store.app_set_headers(O1, {"content-type": "image/png"})
    world.do("rename")
    world.go()

    assert world.key(1) == N1
    assert world.store.versions(N1)[-1].headers["content-type"] == "image/png"


def test_row_pointed_elsewhere_is_planned_again_and_our_copy_removed(world: World) -> None:
    """The application replaced the asset between copy and switch (case 29b, H9)."""
    _copied(world)
    world.store.app_put("up/other.png", b"other")
    world.save_key(1, "up/other.png")
    world.do("rename")

    assert world.move(1).state is MoveState.PLANNED
    assert world.move(1).generation == 2
    assert N1 not in world.store.contents()
    world.go()
    assert world.key(1) == "clients/7/assets/other.png"
    assert world.store.contents() == {O1: b"v1", "clients/7/assets/other.png": b"other"}


def test_row_pointed_to_another_folder_with_the_same_name_is_copied_over_our_copy(world: World) -> None:
    """The new key stays the same: copied anew over our own copy, by a request that no other object survives (H9a)."""
    _copied(world)
    world.store.app_put("in/1.png", b"other")
    world.save_key(1, "in/1.png")
    world.do("rename")

    assert (world.move(1).state, world.move(1).old_key) == (MoveState.PLANNED, "in/1.png")
    world.go()
    assert world.get(1) == b"other"
    assert world.store.contents() == {O1: b"v1", N1: b"other"}


def test_deleted_row_is_not_revived_and_our_copy_is_removed(world: World) -> None:
    """A row that went between copy and switch stays gone, and so does its copy (case 29c)."""
    _copied(world)
    world.sql("DELETE FROM assets")
    world.do("rename")

    assert world.move(1).state is MoveState.SUPERSEDED
    assert world.sql("SELECT * FROM assets") == []
    assert world.store.contents() == {O1: b"v1"}


def test_asset_of_another_client_is_not_published_there(world: World) -> None:
    """The row moved to client 8: its copy under client 7 goes, and it is planned for client 8 (H10)."""
    _copied(world)
    world.sql("UPDATE assets SET client_id = 8")
    world.do("rename")

    assert world.key(1) == O1
    world.go()
    assert world.key(1) == "clients/8/assets/1.png"
    assert sorted(world.store.contents()) == ["clients/8/assets/1.png"]


def test_row_that_the_application_switched_itself_needs_only_the_delete(world: World) -> None:
    """The row names the new key already: what is left is the grace."""
    _copied(world)
    world.save_key(1, N1)
    world.do("rename")

    assert world.move(1).state is MoveState.RENAMED
    world.go()
    assert world.store.contents() == {N1: b"v1"}


def test_row_that_the_application_switched_itself_is_given_what_every_switched_row_is(world: World) -> None:
    """The grace as it is set by now, and a new one once the other row that names the old object does so no more (H16, H29)."""
    _copied(world)
    world.add(2, O1, client=8, body=None)
    _set(world, grace_seconds=3600)
    world.save_key(1, N1)
    world.do("rename")

    move = world.move(1)
    assert (move.state, move.grace_seconds, move.sighted) == (MoveState.RENAMED, 3600, True)
    assert move.switch_store_time is not None


def test_old_object_that_the_application_removed_with_its_own_switch_is_not_waited_for(world: World) -> None:
    """It has done all of the move itself: nothing was taken down, and nothing is missing."""
    _copied(world)
    world.save_key(1, N1)
    world.store.app_delete(O1)
    world.go()

    assert (world.states(), world.store.contents()) == ({"deleted": 1}, {N1: b"v1"})


@pytest.mark.parametrize("then", ["nothing", "pointed elsewhere", "removed"])
def test_spelling_that_the_application_has_corrected_itself_leaves_the_only_object_alone(tmp_path: Path, then: str) -> None:
    """Both keys are one object, and it is nobody's old one, whatever becomes of the row (S4)."""
    world = World(tmp_path, LIKE_MINIO)
    world.add(1, f"/{N1}")
    world.moved(up_to="copy")
    world.save_key(1, N1)
    world.do("rename")
    if then == "pointed elsewhere":
        world.store.app_put("clients/7/assets/other.png", b"other")
        world.save_key(1, "clients/7/assets/other.png")
    elif then == "removed":
        world.sql("DELETE FROM assets")
    world.go()

    assert world.states() == {"in_place": 1}
    assert world.store.contents()[N1] == b"v1"


def test_foreign_object_in_the_place_of_our_copy_stops_the_switch(world: World) -> None:
    """Somebody overwrote the new key: the row stays at the old one, and both objects stay."""
    _copied(world)
    world.later(3)
    world.store.app_put(N1, b"theirs")
    world.do("rename")

    assert world.key(1) == O1
    assert world.move(1).reason is ParkedReason.TARGET_EXISTS
    assert world.store.contents() == {O1: b"v1", N1: b"theirs"}


def test_copy_that_went_away_is_written_again(world: World) -> None:
    """A lifecycle rule or a janitor removed the copy before the switch (H22): after looks some time apart, and nothing is switched."""
    _copied(world)
    world.store.app_delete(N1)
    world.do("rename")
    assert (world.key(1), world.move(1).state) == (O1, MoveState.COPIED)
    world.later(10)
    world.do("rename")

    assert (world.key(1), world.move(1).state, world.move(1).copy) == (O1, MoveState.PLANNED, None)
    world.go()
    assert world.get(1) == b"v1"


def test_take_down_between_copy_and_switch_publishes_nothing(world: World) -> None:
    """The old object was removed: the row is not switched, and our copy goes as well (H24)."""
    _copied(world)
    world.store.app_delete(O1)
    world.do("rename")
    assert world.move(1).state is MoveState.COPIED
    world.go()

    assert world.key(1) == O1
    assert world.move(1).reason is ParkedReason.MISSING_SOURCE
    assert world.store.contents() == {}


def test_row_that_names_the_new_key_stops_the_switch(world: World) -> None:
    """Another row took the new key since the copy: two rows never share an object by our doing (H5)."""
    _copied(world)
    world.add(2, N1, body=None)
    world.do("rename")

    assert world.key(1) == O1
    assert world.move(1).reason is ParkedReason.TARGET_EXISTS


def test_unique_violation_parks_one_row_and_its_mates_are_renamed(tmp_path: Path, behaviour: Behaviour) -> None:
    """The statement is repeated row by row (S5, case 30); the store tells the two spellings apart, the table does not."""
    world = World(
        tmp_path,
        behaviour,
        table="CREATE TABLE assets (id INTEGER PRIMARY KEY, client_id INTEGER, object_key TEXT COLLATE NOCASE UNIQUE)",
    )
    for number, name in enumerate(("up/a.png", "up/Twin.png", "in/twin.png", "up/b.png"), start=1):
        world.add(number, name)
    world.moved(up_to="rename")

    assert [world.move(number).state for number in (1, 2, 3, 4)] == [
        MoveState.RENAMED,
        MoveState.RENAMED,
        MoveState.PARKED,
        MoveState.RENAMED,
    ]
    assert world.move(3).reason is ParkedReason.REJECTED
    assert "UNIQUE" in str(world.move(3).detail)
    assert world.key(3) == "in/twin.png"


def test_trigger_that_changes_the_key_is_seen_and_undone(tmp_path: Path, behaviour: Behaviour) -> None:
    """The database stored another key than the one written: rolled back, parked, and its mates are renamed (H11)."""
    world = World(tmp_path, behaviour)
    world.sql(
        "CREATE TRIGGER lower_case AFTER UPDATE OF object_key ON assets WHEN new.object_key <> lower(new.object_key) "
        "BEGIN UPDATE assets SET object_key = lower(new.object_key) WHERE id = new.id; END"
    )
    world.add(1, "up/Logo.png")
    world.add(2)
    world.moved(up_to="rename")

    assert world.key(1) == "up/Logo.png"
    assert world.move(1).reason is ParkedReason.REJECTED
    assert world.key(2) == "clients/7/assets/2.png"


def test_key_column_that_is_too_short_parks_only_the_long_key(tmp_path: Path, behaviour: Behaviour) -> None:
    """A refusal of one row does not fail the batch."""
    world = World(
        tmp_path,
        behaviour,
        table="CREATE TABLE assets (id INTEGER PRIMARY KEY, client_id INTEGER, object_key TEXT CHECK (length(object_key) <= 30))",
    )
    world.add(1, "up/a-name-of-some-length.png")
    world.add(2)
    world.moved(up_to="rename")

    assert world.move(1).reason is ParkedReason.REJECTED
    assert world.move(2).state is MoveState.RENAMED


def test_rejected_row_leaves_no_copy_behind(tmp_path: Path, behaviour: Behaviour) -> None:
    """A park before the switch removes or lists our copy (H17)."""
    world = World(
        tmp_path,
        behaviour,
        table="CREATE TABLE assets (id INTEGER PRIMARY KEY, client_id INTEGER, object_key TEXT CHECK (object_key LIKE 'up/%'))",
    )
    world.add(1)
    world.moved(up_to="rename")

    assert world.move(1).reason is ParkedReason.REJECTED
    assert world.store.contents() == {O1: b"v1"}


def test_version_column_is_bumped_so_that_a_stale_save_is_refused(tmp_path: Path, behaviour: Behaviour) -> None:
    """The application's optimistic lock sees the switch (H14)."""
    world = World(
        tmp_path,
        behaviour,
        table="CREATE TABLE assets (id INTEGER PRIMARY KEY, client_id INTEGER, object_key TEXT, version INTEGER)",
        settings={"version_column": "version"},
    )
    world.add(1, version=4)
    world.moved(up_to="rename")
    world.sql("UPDATE assets SET object_key = :key, version = 5 WHERE id = 1 AND version = 4", key=O1)

    assert list(world.sql("SELECT object_key, version FROM assets")) == [(N1, 5)]


def test_old_key_saved_over_the_switch_is_switched_again(world: World) -> None:
    """An ORM that saves the whole row sets the old key back: switched once more, however late (H14)."""
    _copied(world)
    world.do("rename")
    world.later(20)
    world.save_key(1, O1)
    world.do("delete")
    assert world.move(1).state is MoveState.COPIED
    world.later(20)
    world.do("rename")

    assert (world.key(1), world.move(1).state) == (N1, MoveState.RENAMED)
    assert world.get(1) == b"v1"


def test_grace_begins_anew_with_the_second_switch_even_after_a_crash(world: World) -> None:
    """A worker that dies between the second commit and its stamp must not leave the first switch's stamp in force (H14, H16)."""
    _copied(world)
    world.do("rename")
    world.later(50)
    world.save_key(1, O1)
    world.do("delete")
    world.later(5)
    _die_after_commit(world)
    assert world.key(1) == N1
    world.later(35)  # the lease has ended; the second switch is 35 s old, the first one 90 s
    world.do("delete")

    assert O1 in world.store.contents()


def test_unstamped_switch_is_looked_after_like_any_other(world: World) -> None:
    """A worker died between commit and stamp: a write that overlapped the switch is still seen at the next look (S1)."""
    _copied(world)
    _die_after_commit(world)
    world.store.app_put(O1, b"v2")
    world.later(31)
    world.go(until=4)

    assert world.get(1) == b"v2"


@pytest.mark.parametrize("mate_in_the_way", [False, True])
def test_switch_whose_stamp_the_database_rolled_back_stays_a_switch(world: World, *, mate_in_the_way: bool) -> None:
    """A deadlock after the commit takes nothing back: the grace, other namers and the store's time are on record (S1, H16, H29)."""
    world.add(1)
    world.add(2)
    world.moved(up_to="copy")
    world.add(3, O1, client=8, body=None)
    _set(world, grace_seconds=3600)
    if mate_in_the_way:  # so that it goes row by row
        world.store.app_put("up/z.png", b"z")
        world.save_key(2, "up/z.png")
    with suppress(DatabaseUnavailableError):
        world.do("rename", [world.move(1).id, world.move(2).id], worker=_stamp_fails(world))

    move = world.move(1)
    assert (move.state, move.grace_seconds, move.sighted, world.key(1)) == (MoveState.RENAMED, 3600, True, N1)
    assert move.switch_store_time is not None


def test_error_of_the_stamp_that_no_list_knows_takes_nothing_back_either(world: World) -> None:
    """A disk that is full is no outage by its code: the switch is not done once more, and no mate of the batch is suspected."""
    for number in (1, 2, 3):
        world.add(number)
    world.moved(up_to="copy")
    with pytest.MonkeyPatch.context() as patches, suppress(DatabaseUnavailableError):
        patches.setattr(rename_keys, "ROWS_LOCKED", 1)
        world.do("rename", worker=_stamp_fails(world, exc.OperationalError("UPDATE", {}, Exception("database or disk is full"))))
    world.later(40)
    world.go()

    assert world.states() == {"deleted": 3}
    assert [move.deaths for move in world.moves()] == [0, 0, 0]
    assert not any(move.suspect for move in world.moves())


def test_row_that_the_application_switched_itself_keeps_its_bytes_where_the_old_key_is_used_again(tmp_path: Path) -> None:
    """What lies at the old key by now is another asset's: it is copied over nothing (S2)."""
    world = World(tmp_path, CONDITIONAL, settings={"where": "id < 10"})
    world.add(1, body=b"A's")
    world.moved(up_to="copy")
    world.save_key(1, N1)
    world.later(5)
    world.add(11, O1, body=b"B's")
    world.go()

    assert (world.get(1), world.get(11)) == (b"A's", b"B's")
    assert world.states() == {"kept": 1}


def test_row_that_was_set_back_to_an_object_that_is_gone_is_not_switched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application named the new key, removed the old object, and sets the row back before it is locked (H24)."""
    _copied(world)
    world.save_key(1, N1)
    world.store.app_delete(O1)
    switch = rename_keys.switch

    def set_back(*given: Any) -> None:  # noqa: ANN401 - as a switch has them
        world.save_key(1, O1)
        switch(*given)

    monkeypatch.setattr(rename_keys, "switch", set_back)
    world.do("rename")

    assert world.key(1) == O1


def test_late_write_is_seen_where_the_stamp_failed_and_the_run_was_cancelled(world: World) -> None:
    """The row is switched for good: a writer who had read it before is heard, and the old object stays as that of a switched row."""
    world.add(1)
    world.add(2)
    world.moved(up_to="copy")
    world.store.app_put("up/z.png", b"z")
    world.save_key(2, "up/z.png")
    with suppress(DatabaseUnavailableError):
        world.do("rename", worker=_stamp_fails(world))
    world.store.app_put(O1, b"late")
    world.context.reopening.cancel(world.run)
    world.go()

    assert (world.move(1).state, world.get(1)) == (MoveState.KEPT, b"late")


def _set(world: World, **values: object) -> None:
    """Turn a knob of the run, as ``rekey set`` does."""
    world.context = dataclasses.replace(world.context, settings=world.context.settings.model_copy(update=values))


def _stamp_fails(world: World, error: Exception | None = None) -> Context:
    """A worker whose statement after the commit of its first switch fails: with *error*, or as the victim of a deadlock."""
    ledger = world.worker().moves
    real, left = ledger.record, [1]

    def record(lease, outcomes, *, connection=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        if connection is None and left and any("switched_at" in outcome.stamp for outcome in outcomes):
            left.pop()
            raise error or RolledBackError("deadlock detected")
        return real(lease, outcomes, connection=connection)

    ledger.record = record  # type: ignore[method-assign]
    return world.worker(moves=ledger, settings=world.context.settings)


def _die_after_commit(world: World) -> None:
    """Let a worker die right after the commit of the switch: SIGKILL is no exception that anybody handles."""

    class KilledError(BaseException):
        pass

    ledger = world.worker().moves
    real = ledger.record

    def record(lease, outcomes, *, connection=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        if connection is None and any("switched_at" in outcome.stamp for outcome in outcomes):
            raise KilledError
        return real(lease, outcomes, connection=connection)

    ledger.record = record  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        world.do("rename", worker=world.worker(moves=ledger))


def test_lost_commit_reply_is_read_back_and_counts_as_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection broke during COMMIT, which had happened: the ledger says so under our token (H30)."""
    _copied(world)
    _lose_commit(world, monkeypatch, happened=True)
    result = world.do("rename")

    assert result.counts["renamed"] == 1
    assert (world.key(1), world.move(1).state) == (N1, MoveState.RENAMED)
    assert world.move(1).switched_at is not None


def test_lost_commit_that_did_not_happen_is_done_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection broke during COMMIT, which had not happened: nothing is recorded, and the move is free at once."""
    _copied(world)
    _lose_commit(world, monkeypatch, happened=False)
    with suppress(DatabaseUnavailableError):
        world.do("rename")
    assert (world.key(1), world.move(1).state) == (O1, MoveState.COPIED)
    world.go()

    assert world.key(1) == N1
    assert world.move(1).suspect is False


def test_lost_commit_of_a_corrected_spelling_is_read_back_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both keys are one object the row counts as corrected only if it was."""
    world = World(tmp_path, LIKE_MINIO)
    world.add(1, "/clients/7/assets/1.png")
    world.moved(up_to="copy")
    _lose_commit(world, monkeypatch, happened=False)
    with suppress(DatabaseUnavailableError):
        world.do("rename")
    assert world.move(1).state is MoveState.COPIED
    world.go()

    assert (world.key(1), world.move(1).state) == (N1, MoveState.IN_PLACE)


def _lose_commit(world: World, monkeypatch: pytest.MonkeyPatch, *, happened: bool) -> None:
    """Let the next commit of a switch lose its reply."""
    real = rename_keys.transaction
    left = [1]

    @contextmanager
    def losing(engine, *, read_only=False):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        lose = not read_only and left and left.pop()
        if not lose:
            with real(engine, read_only=read_only) as connection:
                yield connection
            return
        if happened:
            with real(engine) as connection:
                yield connection
        else:
            with engine.connect() as connection, connection.begin() as begun:
                yield connection
                begun.rollback()
        raise OutcomeUnknownError("the connection broke during COMMIT")

    monkeypatch.setattr(rename_keys, "transaction", losing)


def test_write_between_look_and_switch_of_the_same_object_is_no_stranger(tmp_path: Path) -> None:
    """Where only a spelling is corrected, the application's own upload is the object (case 1)."""
    world = World(tmp_path, LIKE_MINIO)
    world.add(1, "/clients/7/assets/1.png")
    world.moved(up_to="copy")
    world.later(3)
    world.store.app_put("/clients/7/assets/1.png", b"v2")
    world.do("rename")

    assert (world.key(1), world.move(1).state) == (N1, MoveState.IN_PLACE)
    assert world.store.contents() == {N1: b"v2"}


def test_unanswered_removal_of_a_copy_keeps_its_lease(world: World) -> None:
    """A clean-up's DELETE may still arrive: nobody acts on that key before it has expired (S7, H2)."""
    _copied(world)
    world.sql("DELETE FROM assets")
    world.store.faults.add(Fault.delay(), on="delete")
    world.do("rename")

    assert world.column(1, "lease_until") > 0
    assert world.column(1, "lease_kept")
    assert world.move(1).state is MoveState.COPIED
    world.go()
    assert world.move(1).state is MoveState.SUPERSEDED
    assert world.store.contents() == {O1: b"v1"}


def test_copy_that_readers_may_know_is_left_and_listed(world: World) -> None:
    """The row named the new key for a while: readers may still come for it, so a clean-up leaves it there (S1)."""
    _copied(world)
    world.do("rename")
    world.save_key(1, O1)
    world.do("delete")
    world.store.app_put("up/other.png", b"other")
    world.save_key(1, "up/other.png")
    world.do("rename")

    assert world.store.app_get(N1) == b"v1"
    assert N1 in str(world.move(1).detail)


def test_unanswered_removal_after_a_take_down_keeps_its_lease_too(world: World) -> None:
    """The park is recorded only when the clean-up was answered (S7, H24)."""
    _copied(world)
    world.store.app_delete(O1)
    for _ in range(2):
        world.do("rename")
        world.later(20)
    world.store.faults.add(Fault.lose_reply(), on="delete")
    world.do("rename")
    assert (world.column(1, "lease_kept"), world.move(1).state) == (1, MoveState.COPIED)
    world.go()

    assert world.parked() == {"missing_source": 1}
    assert world.store.contents() == {}


@pytest.mark.parametrize("key", [O1, N1])
def test_object_that_may_not_be_looked_at_parks_before_the_switch(world: World, key: str) -> None:
    """403 (case 15)."""
    _copied(world)
    world.store.faults.add(Fault.refuse(DeniedError), on="stat", key=key)
    world.do("rename")

    assert (world.key(1), world.move(1).reason) == (O1, ParkedReason.DENIED)


def test_row_that_changes_whenever_it_is_to_be_switched_is_given_up(tmp_path: Path) -> None:
    """Bounded (S9), and our copy is removed (H17)."""
    world = World(tmp_path, LIKE_MINIO, settings={"max_attempts": 1})
    world.add(1)
    world.seed()
    for number in range(7):
        world.do("copy")
        world.store.app_put(f"in{number}/1.png", b"v1")
        world.save_key(1, f"in{number}/1.png")
        world.later(1)
        world.do("rename")

    assert world.move(1).reason is ParkedReason.CHANGED_TOO_OFTEN
    assert N1 not in world.store.contents()


def test_row_that_is_as_planned_again_after_a_refusal_is_switched_next_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It changed while we looked and changed back."""
    _copied(world)
    real = rename_keys._same_plan
    answers = iter([False, False])
    monkeypatch.setattr(rename_keys, "_same_plan", lambda *args: next(answers, None) is None and real(*args))
    world.do("rename")
    assert (world.key(1), world.move(1).state) == (O1, MoveState.COPIED)
    world.do("rename")

    assert world.key(1) == N1


def test_switch_row_by_row_ends_with_the_task(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row is in the way and the database is slow: what is left is given back (design, section 6)."""
    for number in (1, 2, 3):
        world.add(number)
    world.moved(up_to="copy")
    world.sql("DELETE FROM assets WHERE id = 3")
    real = rename_keys._switch_one

    def slow(*call):  # type: ignore[no-untyped-def] # noqa: ANN002, ANN202
        real(*call)
        world.later(6)

    monkeypatch.setattr(rename_keys, "_switch_one", slow)
    result = world.do("rename")

    assert world.states() == {"renamed": 1, "copied": 2}
    assert sorted(result.again) == [2, 3]


def test_worker_that_was_stopped_between_look_and_switch_looks_again(world: World) -> None:
    """Else the row would name what was overwritten long before the switch (S5, H3); so too where the rows' locks were waited for."""
    _copied(world)
    waits: list[str] = []

    def wait(_connection, _cursor, statement, *_more):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN002, ANN202
        if not waits and statement.startswith("SELECT") and "FROM assets" in statement:
            waits.append(statement)
            world.store.app_put(O1, b"v2")
            world.later(6)

    event.listen(world.engine, "before_cursor_execute", wait)
    world.do("rename")
    assert len(waits) == 1
    assert (world.key(1), world.move(1).state) == (O1, MoveState.COPIED)
    world.go()

    assert (world.get(1), world.states()) == (b"v2", {"deleted": 1})


def test_looks_that_took_too_long_are_taken_again(world: World) -> None:
    """A slow store: both objects must be seen within five seconds of the switch (S4, H3)."""
    for number in (1, 2):
        world.add(number)
    world.moved(up_to="copy")
    world.store.on_call = lambda name, _key: world.later(1.2) if name in {"stat", "list_page"} else None
    world.do("rename")
    assert world.states() == {"renamed": 2} or world.states() == {"renamed": 1, "copied": 1}
    world.store.on_call = None
    world.go()

    assert world.states() == {"deleted": 2}


def test_lease_that_was_lost_before_the_transaction_switches_nothing(world: World) -> None:
    """Another worker has taken over while the objects were looked at (S7)."""
    _copied(world)

    def take_over(name: str, _key: str) -> None:
        if name in {"stat", "list_page"}:
            world.store.on_call = None
            world.set_columns(1, lease_token="another worker")

    world.store.on_call = take_over
    world.do("rename")

    assert (world.key(1), world.move(1).state, world.column(1, "lease_token")) == (O1, MoveState.COPIED, "another worker")


@pytest.mark.parametrize("fault", ["gone", "denied", "refused", "named"])
def test_copy_that_cannot_be_removed_is_listed(world: World, fault: str) -> None:
    """A park before the switch removes or lists our copy (H17); a row that came to name it is damage (H23)."""
    _copied(world)
    world.sql("DELETE FROM assets")
    if fault == "gone":
        world.store.on_call = lambda name, key: world.store.app_delete(N1) if (name, key) == ("stat", N1) and _looked(world) else None
    elif fault == "denied":
        world.store.faults.add(Fault.refuse(DeniedError), on="stat", key=N1, skip=1)
    elif fault == "refused":
        world.store.faults.add(Fault.refuse(LockedError), on="delete_key")
    else:
        world.store.on_call = lambda name, _key: world.add(2, N1, body=None) and None if name == "delete" else None
    world.do("rename")
    detail = str(world.move(1).detail)

    assert world.move(1).state is MoveState.SUPERSEDED
    assert {"gone": "left" not in detail, "named": "damage" in detail}.get(fault, f"our copy was left at {N1!r}" in detail)


def _looked(world: World) -> bool:
    return world.store.calls.count(("stat", N1)) > 1


def test_lost_lease_switches_nothing(world: World) -> None:
    """A worker that was stopped past its lease finds the moves somebody else's (S7)."""
    _copied(world)
    lease = world.crash_in("rename")
    world.later(40)
    world.tick()
    world.do("rename")
    assert world.move(1).state is MoveState.RENAMED
    late = world.context.moves.record(lease, [])

    assert late == set()
    assert world.key(1) == N1
