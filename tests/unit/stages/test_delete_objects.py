"""The delete stage: the old object goes last, and only where nothing and nobody needs it (S1, S2, S4)."""

from __future__ import annotations

import dataclasses
import itertools
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from app import assets, reconcile
from app.errors import (
    BadKeyError,
    ConditionFailedError,
    DatabaseUnavailableError,
    DeniedError,
    LeaseLostError,
    LockedError,
    RekeyError,
    StoreRequestError,
    StoreUnavailableError,
)
from app.ledger import moves as ledger_moves
from app.ledger.reopening import Selection
from app.looks import MAX_AGE_SECONDS
from app.schema import moves
from app.stages import delete_objects, holding, naming
from app.stages.aftercare import BOTH_MISSED
from app.stages.context import GONE_SECONDS
from app.stages.delete_objects import DeleteObjects
from app.states import MoveState, ParkedReason, RunState
from app.testing import Behaviour, Fault
from app.testing.versions import CONDITIONAL, LIKE_MINIO
from tests.builders import ASSETS, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from app.errors import ObjectError

O1, N1 = "up/1.png", "clients/7/assets/1.png"
GRACE = 60

THUMBS = f"{ASSETS}; CREATE TABLE thumbs (file TEXT)"


def _switched(world: World, numbers: int = 1) -> None:
    for number in range(1, numbers + 1):
        world.add(number)
    world.moved()
    world.later(1)


def _is_deleted(world: World) -> bool:
    return O1 not in world.store.contents()


def test_old_object_goes_when_the_grace_is_over_by_both_clocks(world: World) -> None:
    """Not before the grace has passed since the commit was seen, then by one request."""
    _switched(world)
    for _ in range(5):
        world.do("delete")
        assert not _is_deleted(world)
        world.later(10)
    world.later(10)
    world.do("delete")

    assert world.store.contents() == {N1: b"v1"}
    assert world.move(1).state is MoveState.DELETED
    assert world.get(1) == b"v1"


@pytest.mark.parametrize("slow", ["database", "store"])
def test_clock_that_runs_ahead_does_not_end_the_grace(world: World, slow: str) -> None:
    """One clock alone may be set forward: both must have seen the grace (H16)."""
    _switched(world)
    if slow == "store":
        world.database_clock.skew = 7200
    else:
        world.store.skew = 7200
    world.do("delete")

    assert not _is_deleted(world)


def test_grace_by_the_stores_clock_begins_at_the_switch(world: World) -> None:
    """Not at the copy, which may be long past by then: the database's clock may have jumped before anybody could notice (H16)."""
    world.add(1)
    world.seed()
    world.do("copy")
    world.later(50)
    world.do("rename")
    world.database_clock.skew = 7200
    world.later(15)
    world.do("delete")

    assert not _is_deleted(world)

    world.later(50)
    world.do("delete")

    assert _is_deleted(world)


def test_deletes_are_held_after_a_jump_of_the_database_clock(world: World) -> None:
    """The reconciler saw the jump: no delete for one grace from now (H16)."""
    _switched(world)
    world.later(100)
    world.context.runs.hold_deletes(world.run, seconds=60)
    world.do("delete")
    assert not _is_deleted(world)
    world.later(61)
    world.do("delete")

    assert _is_deleted(world)


def test_grace_of_zero_deletes_in_the_same_pass(tmp_path: Path, behaviour: Behaviour) -> None:
    """Without a grace the rename hands its moves straight to the delete stage."""
    world = World(tmp_path, behaviour, settings={"grace_seconds": 0})
    world.add(1)
    world.seed()
    world.do("copy")
    renamed = world.do("rename")
    assert renamed.ready == [1]
    world.do("delete", renamed.ready)

    assert world.store.contents() == {N1: b"v1"}


def test_looks_come_at_doubling_intervals_and_at_the_end_of_the_grace(world: World) -> None:
    """Within LOOK_SECONDS of the commit, then doubling (S1): 60 s of grace take few looks."""
    world.add(1)
    world.moved()
    looked: list[float] = []
    start = world.clock.boot()
    while not world.is_over():
        for stage, ids in world.tick().messages:
            looked.append(world.clock.boot() - start)
            world.do(stage.name, ids)
        world.later(1)

    assert looked[0] <= 5
    assert all(later - earlier <= 2 * earlier + 10 for earlier, later in itertools.pairwise(looked))
    assert len(looked) <= 7


# Late writes (S2, H1)


def test_write_that_overlapped_the_switch_shows_at_the_next_look(world: World) -> None:
    """It came before the switch was seen to be over: copied again at once (S1, H8)."""
    world.add(1)
    world.moved(up_to="copy")
    world.store.on_call = None
    world.later(2)
    _write_during_switch(world, b"v2")
    world.later(1)
    world.do("delete")

    assert world.get(1) == b"v2"
    world.go()
    assert world.store.contents() == {N1: b"v2"}


def _write_during_switch(world: World, body: bytes) -> None:
    """Let the application write the old key after the stage's look and before its commit."""
    real = world.context.store.store_time

    class Store:
        def __getattr__(self, name: str) -> object:
            return getattr(world.store, name)

        def store_time(self) -> int:
            now = real()
            world.store.app_put(O1, body)
            world.later(2)
            return now + 2

    worker = world.worker(store=Store())
    world.do("rename", worker=worker)


def test_late_write_is_copied_again_once_it_has_settled(world: World) -> None:
    """A slow writer wrote the old key after the switch: later than the version copied, older than SETTLE, nobody names it (S2)."""
    _switched(world)
    world.later(10)
    world.store.app_put(O1, b"v2")
    world.do("delete")
    assert world.get(1) == b"v1"
    world.later(32)
    world.do("delete")

    assert world.get(1) == b"v2"
    assert not _is_deleted(world)
    world.go()
    assert world.store.contents() == {N1: b"v2"}


def test_late_write_starts_the_grace_of_its_own_copy(world: World) -> None:
    """The copy is younger than the switch: by the store's clock it must be as old as the grace (S4)."""
    _switched(world)
    world.later(25)
    world.store.app_put(O1, b"v2")
    world.later(34)
    world.do("delete")
    assert world.get(1) == b"v2"
    world.later(20)
    world.do("delete")

    assert not _is_deleted(world)


def test_both_changed_after_the_switch_is_a_conflict_and_both_stay(world: World) -> None:
    """A slow writer wrote the old key, a fresh one the new key: nobody knows which is meant (H1a)."""
    _switched(world)
    world.store.app_put(O1, b"slow")
    world.store.app_put(N1, b"fresh")
    world.go()

    assert (world.move(1).reason, world.move(1).parked_from) == (ParkedReason.CONFLICT, MoveState.RENAMED)
    assert world.store.contents() == {O1: b"slow", N1: b"fresh"}


def test_new_key_written_by_the_application_is_no_reason_to_keep_the_old_object(world: World) -> None:
    """The service goes on writing under the new key: the row alone names it, so the old object may go."""
    _switched(world)
    world.later(3)
    world.store.app_put(N1, b"v2")
    world.go()

    assert world.store.contents() == {N1: b"v2"}
    assert world.move(1).state is MoveState.DELETED


def test_old_key_used_again_for_another_asset_stays(world: World) -> None:
    """Object first, row next (H1b): the late object is another asset's, and must not replace ours."""
    _switched(world)
    world.store.app_put(O1, b"another asset")
    world.later(10)
    world.add(2, O1, body=None)
    world.later(25)
    world.do("delete")
    assert world.get(1) == b"v1"
    world.later(200)
    world.do("delete", [1])

    assert world.move(1).state is MoveState.KEPT
    assert (world.get(1), world.get(2)) == (b"v1", b"another asset")


def test_change_that_is_not_later_is_a_conflict(tmp_path: Path, behaviour: Behaviour) -> None:
    """An older version became current again: nothing says that it is meant (H7)."""
    world = World(tmp_path, behaviour)
    _switched(world)
    older = dataclasses.replace(world.store.versions(O1)[-1], body=b"v0", etag="0" * 32, last_modified=world.store.store_time() - 4000)
    world.store._bucket.replace_current(O1, older)
    world.go()

    assert world.move(1).reason is ParkedReason.CONFLICT
    assert world.store.contents() == {O1: b"v0", N1: b"v1"}


def test_header_change_of_the_old_object_after_the_switch_is_carried_over(world: World) -> None:
    """Same ETag, later time (H21)."""
    _switched(world)
    world.later(3)
    world.store.app_set_headers(O1, {"content-type": "image/png"})
    world.go()

    assert world.store.versions(N1)[-1].headers["content-type"] == "image/png"
    assert _is_deleted(world)


def test_lost_reply_of_a_late_copy_is_no_conflict(world: World) -> None:
    """The completion was carried out and its reply lost: the new object is equal to the old one, so nothing is in conflict (H12)."""
    _switched(world)
    world.later(10)
    world.store.app_put(O1, b"v2")
    world.later(31)
    world.store.faults.add(Fault.lose_reply(), on="complete_upload")
    world.do("delete")
    assert world.column(1, "lease_kept")
    world.go()

    assert world.states() == {"deleted": 1}
    assert world.store.contents() == {N1: b"v2"}


def test_late_write_over_a_newer_one_is_refused_by_the_store(world: World) -> None:
    """The new key was written between the look and our copy: If-Match refuses, both stay (H1a)."""
    _switched(world)
    world.later(10)
    world.store.app_put(O1, b"v2")
    world.later(31)
    world.store.on_call = lambda name, _key: world.store.app_put(N1, b"fresh") if name == "complete_upload" else None  # type: ignore[func-returns-value]
    world.do("delete")
    world.store.on_call = None
    world.go()

    assert world.move(1).reason is ParkedReason.CONFLICT
    assert world.store.contents() == {O1: b"v2", N1: b"fresh"}


def test_nothing_is_written_over_a_named_object_on_a_store_without_the_condition(tmp_path: Path) -> None:
    """Where a completion takes no If-Match (REKEY_COPY=server), a late write stays where it is and is reported (S2)."""
    world = World(tmp_path, dataclasses.replace(LIKE_MINIO, complete_if_match=False), settings={"copy_mode": "server"})
    _switched(world)
    world.later(10)
    world.store.app_put(O1, b"v2")
    world.go()

    assert world.move(1).reason is ParkedReason.CONFLICT
    assert world.store.contents() == {O1: b"v2", N1: b"v1"}


def test_late_write_by_a_service_that_removed_the_row_stays_and_is_reported(world: World) -> None:
    """Nobody knows for whom it is meant (S2)."""
    _switched(world)
    world.sql("DELETE FROM assets")
    world.store.app_put(O1, b"v2")
    world.go()

    assert world.move(1).reason is ParkedReason.CONFLICT
    assert world.store.app_get(O1) == b"v2"


def test_late_write_does_not_go_over_an_object_that_another_row_names(world: World) -> None:
    """Not even an equal one: it is that row's (H5)."""
    _switched(world)
    world.store.app_put(O1, b"v2")
    world.store.app_put(N1, b"v2")
    world.add(2, N1, body=None)
    world.go()

    assert world.move(1).reason is ParkedReason.CONFLICT


def test_late_write_goes_over_our_copy_though_a_reference_names_it(tmp_path: Path, behaviour: Behaviour) -> None:
    """The service has taken that from the row, after the switch: it follows the asset (S2)."""
    world = World(tmp_path, behaviour, table=THUMBS, settings={"references": ("thumbs.file",), "grace_seconds": 60})
    _switched(world)
    world.sql("INSERT INTO thumbs VALUES (:key)", key=N1)
    world.later(10)
    world.store.app_put(O1, b"v2")
    world.go()

    assert (world.states(), world.parked()) == ({"deleted": 1}, {})
    assert world.get(1) == b"v2"


def test_endless_late_writes_are_given_up(tmp_path: Path, behaviour: Behaviour) -> None:
    """Bounded (S9)."""
    world = World(tmp_path, behaviour, settings={"max_attempts": 1, "settle_seconds": 0})
    _switched(world)
    for number in range(6):
        world.later(2)
        world.store.app_put(O1, b"v%d" % number)
        world.later(120)
        world.do("delete")

    assert world.move(1).reason is ParkedReason.CHANGED_TOO_OFTEN
    assert world.store.app_get(O1) == b"v5"


def test_old_object_that_changes_while_it_is_read_is_looked_at_again(world: World) -> None:
    """The version looked at is the one that is copied, or none."""
    _switched(world)
    world.later(10)
    world.store.app_put(O1, b"v2")
    world.later(32)

    def write_again(name: str, _key: str) -> None:
        if name == "read":
            world.store.on_call = None
            world.store.app_put(O1, b"v3")

    world.store.on_call = write_again
    world.do("delete")
    assert world.get(1) == b"v1"
    world.go()

    assert world.get(1) == b"v3"


def test_right_that_is_missing_for_a_late_copy_parks_with_both_objects(world: World) -> None:
    """The store refuses the write (case 15)."""
    _switched(world)
    world.later(10)
    world.store.app_put(O1, b"v2")
    world.later(32)
    world.store.faults.add(Fault.refuse(DeniedError), on="create_upload")
    world.do("delete")

    assert (world.move(1).reason, world.move(1).parked_from) == (ParkedReason.DENIED, MoveState.RENAMED)
    assert world.store.contents() == {O1: b"v2", N1: b"v1"}


@pytest.mark.parametrize("key", [O1, N1])
def test_object_that_may_not_be_looked_at_is_neither_missing_nor_present(world: World, key: str) -> None:
    """403 (case 15)."""
    _switched(world)
    world.store.faults.add(Fault.refuse(DeniedError), on="stat", key=key)
    world.do("delete")

    assert (world.move(1).reason, world.move(1).parked_from) == (ParkedReason.DENIED, MoveState.RENAMED)


def test_row_saved_back_to_an_object_that_is_gone_is_switched_again(world: World) -> None:
    """The old object was deleted by somebody, the row names it again, the bytes lie at the new key (H14)."""
    _switched(world)
    world.store.app_delete(O1)
    world.save_key(1, O1)
    world.go()

    assert (world.key(1), world.get(1), world.states()) == (N1, b"v1", {"deleted": 1})


def test_row_that_is_saved_back_for_ever_is_given_up(tmp_path: Path, behaviour: Behaviour) -> None:
    """Bounded (H14, S9)."""
    world = World(tmp_path, behaviour, settings={"max_attempts": 1})
    _switched(world)
    for _ in range(6):
        world.save_key(1, O1)
        world.do("delete")
        world.do("rename")
        world.later(1)

    assert world.move(1).reason is ParkedReason.CHANGED_TOO_OFTEN
    assert (world.get(1), world.store.app_get(N1)) == (b"v1", b"v1")


def test_other_asset_in_the_place_of_our_copy_is_a_conflict(world: World) -> None:
    """Somebody wrote the new key, and another row names it besides ours: nobody knows whose bytes are meant (H5)."""
    _switched(world)
    world.later(3)
    world.store.app_put(N1, b"x")
    world.add(2, N1, body=None)
    world.later(100)
    world.do("delete", [1])

    assert world.move(1).reason is ParkedReason.CONFLICT
    assert world.store.app_get(O1) == b"v1"


def test_object_that_is_another_moves_copy_by_now_is_kept(world: World) -> None:
    """Another asset has been moved to our old key (H1c)."""
    _switched(world)
    world.add(2, "in/2.png")
    world.context.plans.seed_due_now(world.run)
    world.run_id, former = "", world.run_id
    world.context.runs.set_state(world.context.runs.get(former), RunState.FINISHED, only_from=RunState.RUNNING)
    world.seed()
    hashed = world.context.rules.hash_of(O1)
    world.sql("UPDATE rekey_moves SET state = 'copied', new_hash = :hash, live_hash = :hash WHERE row_id = '[2]'", hash=hashed)
    world.run_id = former
    world.context.runs.set_state(world.run, RunState.RUNNING, only_from=RunState.FINISHED)
    world.later(100)
    world.do("delete")

    assert world.move(1).state is MoveState.KEPT
    assert O1 in world.store.contents()


# Rows that name the old object (S4, H29)


def test_shared_object_is_deleted_by_the_last_of_its_movers(world: World) -> None:
    """Two rows name one object: each gets a copy of its own, the object goes once both are switched and their graces over."""
    world.add(1, "up/shared.png")
    world.add(2, "up/shared.png", body=None, client=8)
    world.seed()
    world.do("copy")
    world.do("rename", [1])
    world.later(100)
    world.do("delete", [1])
    assert "up/shared.png" in world.store.contents()
    world.do("rename", [2])
    world.later(30)
    world.do("delete", [1, 2])
    assert "up/shared.png" in world.store.contents()
    world.go()

    assert world.states() == {"deleted": 2}
    assert world.store.contents() == {"clients/7/assets/shared.png": b"v1", "clients/8/assets/shared.png": b"v1"}


def test_row_that_still_names_the_old_object_keeps_it(tmp_path: Path, behaviour: Behaviour) -> None:
    """A row outside the run's WHERE counts: moved, and the old object stays (S4, H29)."""
    world = World(tmp_path, behaviour, settings={"where": "id = 1"})
    world.add(1)
    world.add(2, O1, body=None)
    world.go()

    assert (world.move(1).state, world.key(1), world.key(2)) == (MoveState.KEPT, N1, O1)
    assert world.get(2) == b"v1"


def test_other_table_that_names_the_old_object_keeps_it(tmp_path: Path, behaviour: Behaviour) -> None:
    """REFERENCES (A4)."""
    world = World(tmp_path, behaviour, table=THUMBS, settings={"references": ("thumbs.file",)})
    world.add(1)
    world.sql("INSERT INTO thumbs VALUES (:key)", key=O1)
    world.go()

    assert world.move(1).state is MoveState.KEPT
    assert O1 in world.store.contents()


def test_other_spelling_of_the_old_object_keeps_it(tmp_path: Path) -> None:
    """MinIO takes `/up/1.png` and `up/1.png` for one object: a row that names either needs it (H6)."""
    world = World(tmp_path, LIKE_MINIO, settings={"where": "id = 1"})
    world.add(1)
    world.add(2, "/up/1.png", body=None)
    world.go()

    assert world.move(1).state is MoveState.KEPT
    assert world.get(2) == b"v1"


def test_row_that_comes_to_name_the_old_object_between_switch_and_delete_keeps_it(world: World) -> None:
    """Case 27."""
    _switched(world)
    world.later(50)
    world.add(3, O1, body=None)
    world.go()

    assert world.get(3) == b"v1"
    assert _is_deleted(world) is False


def test_readers_of_a_row_that_left_the_old_object_get_a_grace_of_their_own(tmp_path: Path, behaviour: Behaviour) -> None:
    """Row 2 named the object until a moment ago: whoever read it then has a whole grace from then on (S1, H29)."""
    world = World(tmp_path, behaviour, settings={"where": "id = 1"})
    world.add(1)
    world.add(2, O1, body=None)
    world.moved()
    world.go(until=2)
    while world.clock.boot() < 1000 + GRACE - 2:
        world.go(until=1, seconds=2)
    world.store.app_put("up/2.png", b"other")
    world.save_key(2, "up/2.png")
    left_at = world.clock.boot()
    while not _is_deleted(world):
        world.go(until=1, seconds=2)
        assert world.move(1).state is not MoveState.KEPT

    assert world.clock.boot() - left_at >= GRACE


def test_last_look_finds_a_row_on_the_old_object_even_after_all_graces(world: World) -> None:
    """The rows are asked just before the request, whatever was known before (S4)."""
    _switched(world)
    world.later(100)
    world.add(2, O1, body=None)
    world.do("delete", [1])

    assert world.get(2) == b"v1"


def test_row_pointed_elsewhere_after_the_switch_lets_the_old_object_go_and_lists_our_copy(world: World) -> None:
    """Re-pointed counts as gone (S4); our copy is left for the operator, and the report says where."""
    _switched(world)
    world.store.app_put("in/new.png", b"new")
    world.save_key(1, "in/new.png")
    world.go()

    assert world.move(1).state is MoveState.DELETED
    assert N1 in str(world.move(1).detail)
    assert world.store.contents() == {N1: b"v1", "in/new.png": b"new"}


def test_row_pointed_elsewhere_after_its_copy_was_overwritten_keeps_the_old_object_and_holds_up_nothing(world: World) -> None:
    """Nobody lacks the bytes of the old object, but no copy proves that it may go (S4): kept and listed."""
    _switched(world)
    world.later(3)
    world.store.app_put(N1, b"v2")
    world.store.app_put("in/new.png", b"new")
    world.save_key(1, "in/new.png")
    world.go()

    assert (world.move(1).state, world.move(1).detail) == (
        MoveState.KEPT,
        "after the switch the row was re-pointed, and our copy overwritten",
    )
    assert world.store.contents() == {O1: b"v1", N1: b"v2", "in/new.png": b"new"}


def test_only_object_is_not_deleted_as_its_own_old_one(tmp_path: Path) -> None:
    """A ledger may say ``renamed`` of two spellings of one key: nothing proves then that a copy is left (S4)."""
    world = World(tmp_path, LIKE_MINIO)
    world.add(1, "/clients/7/assets/1.png")
    world.moved(up_to="copy")
    world.set_columns(1, state=MoveState.RENAMED, stage="delete", switched_at=1, grace_from=1)
    world.sql("DELETE FROM assets")
    world.go()

    assert world.states() == {"kept": 1}
    assert world.store.contents() == {"clients/7/assets/1.png": b"v1"}


def test_row_that_the_application_switched_itself_gets_late_writes_too(world: World) -> None:
    """The time of a copy that was never looked at is known as a bound only: it is ours all the same."""
    world.add(1)
    world.moved(up_to="copy")
    world.set_columns(1, copy_store_time=world.store.store_time() + 2)
    world.save_key(1, N1)
    world.do("rename")
    world.later(5)
    world.store.app_put(O1, b"v2")
    world.go()

    assert (world.states(), world.get(1)) == ({"deleted": 1}, b"v2")


def test_row_deleted_after_the_switch_lets_the_old_object_go_and_lists_our_copy(world: World) -> None:
    """H24b."""
    _switched(world)
    world.sql("DELETE FROM assets")
    world.go()

    assert world.move(1).state is MoveState.DELETED
    assert N1 in str(world.move(1).detail)
    assert _is_deleted(world)


@pytest.mark.parametrize(
    ("other", "words"),
    [({"state": "parked", "parked_from": "renamed", "stage": None, "live_hash": None}, "parked"), ({"run_no": 99}, "another table")],
    ids=["parked", "another run"],
)
def test_object_that_a_move_out_of_our_hands_shares_is_kept(world: World, other: dict[str, object], words: str) -> None:
    """Parked after its switch, or another run's: it is not deleted behind that one's back (H13, H29)."""
    world.add(1, "up/shared.png")
    world.add(2, "up/shared.png", body=None, client=8)
    world.moved()
    world.set_columns(2, **other)
    world.later(100)
    world.do("delete", [1])

    assert world.move(1).state is MoveState.KEPT
    assert words in str(world.move(1).detail)


def test_parked_asset_keeps_the_object_that_it_shares(world: World) -> None:
    """The second row cannot be moved: the object stays for it, and the first one ends as kept (H29)."""
    world.add(1, "up/shared.png")
    world.add(2, "up/shared.png", body=None, client="..")
    world.go()

    assert (world.move(1).state, world.move(2).reason) == (MoveState.KEPT, ParkedReason.BAD_NAME)
    assert world.get(2) == b"v1"


@pytest.mark.parametrize("numbers", [9])
def test_object_of_very_many_assets_is_deleted_by_the_last_of_them(world: World, monkeypatch: pytest.MonkeyPatch, numbers: int) -> None:
    """A picture that a million rows share by default: no worker reads or holds a million moves for it, and all of them end."""
    for module in (ledger_moves, naming, delete_objects):
        monkeypatch.setattr(module, "LARGE_FAMILY", 3)
    monkeypatch.setattr(ledger_moves, "FAMILIES", 4)
    monkeypatch.setattr(assets, "MANY", 4)
    monkeypatch.setattr(reconcile, "TOGETHER", 3)
    for number in range(1, numbers + 1):
        world.add(number, "up/default.png", client=number)
    world.go()

    assert set(world.states()) <= {"deleted", "kept"}
    assert world.states()["deleted"] > 0
    assert "up/default.png" not in world.store.contents()
    assert all(world.get(number) == b"v1" for number in range(1, numbers + 1))


def test_one_chunk_cannot_hold_a_family_that_is_decided_apart() -> None:
    """Each of its members would leave the object to the others."""
    assert DeleteObjects().chunk <= ledger_moves.LARGE_FAMILY


def test_row_is_found_among_very_many_that_only_look_alike(tmp_path: Path, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table's collation is case-blind, the store is not: the one row that needs the object must not drown (S4)."""
    monkeypatch.setattr(assets, "MANY", 3)
    world = World(
        tmp_path,
        behaviour,
        table="CREATE TABLE assets (id INTEGER PRIMARY KEY, client_id INTEGER, object_key TEXT COLLATE NOCASE); "
        "CREATE INDEX by_key ON assets (object_key, id)",
        settings={"where": "id = 1"},
    )
    world.add(1)
    for number in range(2, 9):
        world.add(number, "UP/1.PNG")
    world.add(9, "up/1.png", body=None)
    world.go()

    assert world.get(9) == b"v1"
    assert world.move(1).state is MoveState.KEPT


# Copies that are not there any more


def test_one_404_for_the_copy_of_an_object_that_is_gone_is_no_damage(world: World) -> None:
    """Only the old object's absence had been seen twice: the copy's is believed no sooner (case 16; chaos seed 80263)."""
    _switched(world)
    world.store.app_delete(O1)
    world.do("delete")
    world.later(GONE_SECONDS + 1)
    world.store.faults.add(Fault.not_found(), on="stat", key=N1)
    world.do("delete")
    missed = world.move(1)
    world.go()

    assert (missed.state, missed.detail) == (MoveState.RENAMED, BOTH_MISSED)
    assert world.move(1).state is MoveState.DELETED
    assert str(world.move(1).detail).startswith("vanished")


def test_copy_that_went_away_after_the_switch_is_written_again(world: World) -> None:
    """A janitor removed the new object while the old one is there: readers get it back at the next look (H22)."""
    _switched(world)
    world.store.app_delete(N1)
    world.do("delete")

    assert world.get(1) == b"v1"
    world.go()
    assert world.store.contents() == {N1: b"v1"}


def test_both_gone_is_reported_as_damage(world: World) -> None:
    """Neither object is there though the row names one: said, not counted as deleted (S8)."""
    _switched(world)
    world.store.app_delete(O1)
    world.store.app_delete(N1)
    world.go()

    assert world.move(1).reason is ParkedReason.CONFLICT
    assert "damage" in str(world.move(1).detail)


def test_old_object_that_vanished_is_said_to_have_vanished(world: World) -> None:
    """We recorded no intent: somebody else deleted it (H31)."""
    _switched(world)
    world.store.app_delete(O1)
    world.go()

    assert world.move(1).state is MoveState.DELETED
    assert "vanished" in str(world.move(1).detail)


@pytest.mark.parametrize("key", [O1, N1])
def test_one_404_for_a_present_object_ends_nothing(world: World, key: str) -> None:
    """A flaky store says once that an object is not there (case 16): deleted means absent for good (case 22)."""
    _switched(world)
    world.store.faults.add(Fault.not_found(), on="stat", key=key)
    world.do("delete")
    world.go()

    assert world.states() == {"deleted": 1}
    assert world.move(1).detail is None
    assert world.store.contents() == {N1: b"v1"}


def test_one_404_for_both_objects_ends_nothing(world: World) -> None:
    """Drives are out for a moment (case 16)."""
    _switched(world)
    for key in (O1, N1):
        world.store.faults.add(Fault.not_found(), on="stat", key=key)
    world.do("delete")
    world.go()

    assert world.states() == {"deleted": 1}


# Requests


def test_delete_is_refused_for_a_version_that_came_after_the_look(tmp_path: Path) -> None:
    """Where the store honours the condition, an upload between look and request survives; it is then copied again (case 21)."""
    world = World(tmp_path, CONDITIONAL)
    _switched(world)
    world.later(100)
    world.store.on_call = lambda name, _key: world.store.app_put(O1, b"v2") if name == "delete" else None  # type: ignore[func-returns-value]
    world.do("delete")
    world.store.on_call = None
    assert world.store.app_get(O1) == b"v2"
    world.go()

    assert world.get(1) == b"v2"
    assert world.store.contents() == {N1: b"v2"}


def test_unanswered_delete_keeps_its_lease_and_converges(world: World) -> None:
    """The reply was lost, the object is gone: deleted, by our intent on record (case 18, H31)."""
    _switched(world)
    world.later(100)
    world.store.faults.add(Fault.lose_reply(), on="delete")
    world.do("delete")
    assert (world.column(1, "lease_kept"), world.move(1).state) == (True, MoveState.RENAMED)
    world.later(31)
    world.do("delete")
    world.later(10)
    world.do("delete")

    assert (world.move(1).state, world.move(1).detail) == (MoveState.DELETED, None)


def test_object_that_answers_404_once_after_a_refused_delete_is_deleted_all_the_same(world: World) -> None:
    """That we meant to delete it is no proof that it is gone: a present object may answer 404 for a moment (case 16)."""
    _switched(world)
    world.later(100)
    world.store.faults.add(Fault.refuse(StoreUnavailableError("SlowDown")), on="delete")
    world.do("delete")
    world.later(31)
    world.store.faults.add(Fault.not_found(), on="stat", key=O1)
    world.do("delete")
    assert world.move(1).state is MoveState.RENAMED
    world.later(10)
    world.do("delete")

    assert (world.move(1).state, O1 in world.store.contents()) == (MoveState.DELETED, False)


def test_delayed_delete_is_over_when_its_lease_is(world: World) -> None:
    """Nobody may use the old key again before the request has expired at the store (H2): the move is not final before."""
    _switched(world)
    world.later(100)
    world.store.faults.add(Fault.delay(), on="delete")
    world.do("delete")
    world.later(5)
    world.do("delete")
    assert world.move(1).state is MoveState.RENAMED
    world.later(26)
    world.do("delete")
    assert world.move(1).state is MoveState.DELETED
    world.store.app_put(O1, b"used again")
    world.store.delayed.pop().deliver()

    assert world.store.app_get(O1) == b"used again"


def test_locked_object_parks_and_its_mates_are_deleted(world: World) -> None:
    """Per-key answers are read (case 13, 22)."""
    _switched(world, 3)
    world.later(100)
    world.store.faults.add(Fault.refuse(LockedError), on="delete_key", key="up/2.png")
    world.do("delete")

    assert world.states() == {"deleted": 2, "parked": 1}
    assert (world.move(2).reason, world.move(2).parked_from) == (ParkedReason.LOCKED, MoveState.RENAMED)
    assert "up/2.png" in world.store.contents()


def test_missing_right_to_delete_parks_with_everything_served(world: World) -> None:
    """Rows are served from their new keys; what is missing is said (case 15)."""
    _switched(world)
    world.later(100)
    world.store.faults.add(Fault.refuse(DeniedError), on="delete_key", times=None)
    world.do("delete")

    assert world.move(1).reason is ParkedReason.DENIED
    assert (world.get(1), O1 in world.store.contents()) == (b"v1", True)


def test_refusal_of_the_whole_request_is_each_moves_own(world: World) -> None:
    """The credentials may not delete at all."""
    _switched(world, 2)
    world.later(100)
    world.store.faults.add(Fault.refuse(DeniedError), on="delete")
    world.do("delete")

    assert world.parked() == {"denied": 2}
    assert len(world.store.contents()) == 4


def test_refused_delete_leaves_no_intent(world: World) -> None:
    """503 for the whole request: not carried out; an object that vanishes later was not deleted by us (H31)."""
    _switched(world)
    world.later(100)
    world.store.faults.add(Fault.refuse(StoreUnavailableError("SlowDown")), on="delete")
    world.do("delete")
    assert not _is_deleted(world)
    world.go()

    assert world.states() == {"deleted": 1}


def test_more_than_one_request_is_never_sent_for_an_object(world: World) -> None:
    """A duplicate message finds the move leased or final (S6)."""
    _switched(world)
    world.later(100)
    world.do("delete", [1])
    world.do("delete", [1])
    world.do("delete", [1, 1])

    assert [call for call in world.writes() if call[0] == "delete"] == [("delete", O1)]


@pytest.mark.parametrize(
    "fault",
    [
        Fault.slow_down(),
        Fault.lose_reply(),
        Fault.refuse(DatabaseUnavailableError("away")),
        Fault.refuse(LeaseLostError("over")),
        Fault.refuse(RekeyError("of ours")),
    ],
    ids=["slow down", "unanswered", "no database", "lease over", "a fault of ours"],
)
def test_late_write_is_on_record_whatever_befalls_another_asset_of_the_object(tmp_path: Path, fault: Fault) -> None:
    """Two rows shared the old object: the copy for the first was written, so its next version goes over that one, and is no conflict."""
    world = World(tmp_path, CONDITIONAL)
    world.add(1)
    world.add(2, O1, body=None, client=8)
    world.moved()
    world.later(10)
    world.store.app_put(O1, b"v2")
    world.later(40)
    world.store.faults.add(fault, on="create_upload", key="clients/8/assets/1.png")
    with suppress(RekeyError):
        world.do("delete")
    assert (world.get(1), world.get(2)) == (b"v2", b"v1")
    world.later(31)
    world.store.app_put(O1, b"v3")
    world.go()

    assert (world.get(1), world.get(2)) == (b"v3", b"v3")
    assert world.states() == {"deleted": 2}


def test_worker_that_was_stopped_before_the_request_sends_none(world: World) -> None:
    """Its looks are too old when it goes on (S4): nothing is deleted on their strength."""
    _switched(world)
    world.later(100)
    ledger = world.worker().moves
    real = ledger.record

    def record(lease, outcomes, *, connection=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        done = real(lease, outcomes, connection=connection)
        if any("intent_at" in outcome.stamp for outcome in outcomes):
            world.later(6)
            world.store.app_put(O1, b"v2")
        return done

    ledger.record = record  # type: ignore[method-assign]
    world.do("delete", worker=world.worker(moves=ledger))

    assert world.store.app_get(O1) == b"v2"


def _odd(world: World, many: int) -> None:
    """Switched assets whose old keys no DeleteObjects can name: each takes a request of its own."""
    for number in range(1, many + 1):
        world.add(number, f"up//{number}.png")
    world.moved()
    world.later(100)


@pytest.mark.parametrize("seconds", [0.1, 1.0])  # that a request takes
def test_single_deletes_rely_on_no_look_that_has_grown_old(tmp_path: Path, seconds: float) -> None:
    """Of many keys that go one by one, the last ones would be deleted by looks of half a minute ago (S4); all of them go in the end."""
    world = World(tmp_path, CONDITIONAL)
    _odd(world, 100)
    looked: dict[str, float] = {}
    ages: list[float] = []

    def call(name: str, key: str) -> None:
        if name in {"stat", "head"}:
            looked[key] = world.clock.boot()
        if name == "delete":
            ages.append(world.clock.boot() - looked[key])
            world.clock.advance(seconds)

    world.store.on_call = call
    world.go()

    assert max(ages) <= MAX_AGE_SECONDS
    assert len(ages) == 100
    assert world.states() == {"deleted": 100}


def test_few_objects_are_looked_at_for_deletes_that_come_too_late(tmp_path: Path) -> None:
    """No more of the keys that go one by one are looked at together than are deleted while the looks can be relied on."""
    world = World(tmp_path, CONDITIONAL)
    _odd(world, 300)
    world.store.calls.clear()
    world.store.on_call = lambda name, _key: world.clock.advance(0.1) if name == "delete" else None
    world.do("delete")
    looks = [key for name, key in world.store.calls if name in {"stat", "head"} and key.startswith("up//")]

    assert 20 <= world.states()["deleted"] <= len(looks) < 2 * world.states()["deleted"]


@pytest.mark.parametrize("stop", ["pause", "hold", "a canary read", "cancel", "the worker", "no ledger"])
def test_single_deletes_hear_what_stops_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: str) -> None:
    """Within a second or so, as everything else: they may take longer than that together."""
    world = World(tmp_path, CONDITIONAL)
    _odd(world, 30)
    stopped: list[bool] = []

    def away(*_: object) -> None:
        raise DatabaseUnavailableError("no route")

    stops: dict[str, Callable[[], object]] = {
        "pause": lambda: world.context.runs.set_state(world.run, RunState.PAUSED, only_from=RunState.RUNNING),
        "hold": lambda: world.context.steering.hold(world.run, hold=True),
        "a canary read": lambda: world.context.runs.hold_deletes(world.run, seconds=60),
        "cancel": lambda: world.context.reopening.cancel(world.run),
        "the worker": lambda: stopped.append(True),
        "no ledger": lambda: monkeypatch.setattr(holding, "still_may_go", away),
    }
    sent: list[str] = []

    def call(name: str, key: str) -> None:
        if name == "delete":
            sent.append(key)
            world.clock.advance(0.5)
            if len(sent) == 3:
                stops[stop]()

    world.store.on_call = call
    world.do("delete", worker=world.worker(stopping=lambda: bool(stopped)))

    assert 3 <= len(sent) <= 6
    assert world.states() == {"deleted": len(sent), "renamed": 30 - len(sent)} or stop in {"hold", "a canary read"}
    assert sum(key.startswith("up//") for key in world.store.contents()) == 30 - len(sent)


def test_whole_family_is_held_or_nothing_is_deleted(world: World) -> None:
    """Two moves share the object, and the lease of one is lost before the request: the other does not delete alone (S7, H13)."""
    world.add(1, "up/shared.png")
    world.add(2, "up/shared.png", body=None, client=8)
    world.moved()
    world.later(100)
    ledger = world.worker().moves
    real = ledger.record

    def record(lease, outcomes, *, connection=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        if any("intent_at" in outcome.stamp for outcome in outcomes):
            connection.execute(update(moves).where(moves.c.id == 2).values(lease_token="somebody else"))
        return real(lease, outcomes, connection=connection)

    ledger.record = record  # type: ignore[method-assign]
    world.do("delete", [1], worker=world.worker(moves=ledger))

    assert "up/shared.png" in world.store.contents()


def test_moves_of_the_same_object_are_claimed_together(world: World) -> None:
    """A message names one of two movers: the worker takes the other one too, so that one worker acts on an object (S7)."""
    world.add(1, "up/shared.png")
    world.add(2, "up/shared.png", body=None, client=8)
    world.moved()
    world.later(100)
    world.do("delete", [1])

    assert world.states() == {"deleted": 2}


def test_mover_that_somebody_else_holds_is_waited_for(world: World) -> None:
    """The other mover is leased: nothing is deleted meanwhile (H13)."""
    world.add(1, "up/shared.png")
    world.add(2, "up/shared.png", body=None, client=8)
    world.moved()
    world.later(100)
    world.crash_in("delete", [2])
    world.do("delete", [1])

    assert "up/shared.png" in world.store.contents()
    assert world.move(1).state is MoveState.RENAMED


# Rows that come to name it while it is deleted (H23)


def _name_it_during_the_delete(world: World, number: int) -> None:
    def insert(name: str, _key: str) -> None:
        if name == "delete":
            world.store.on_call = None
            if number == 1:
                world.save_key(1, O1)
            else:
                world.add(number, O1, body=None)

    world.later(100)
    world.store.on_call = insert
    world.do("delete", [1])


@pytest.mark.parametrize("number", [1, 2], ids=["own row", "another row"])
def test_row_that_names_the_object_during_a_conditional_delete_gets_it_back(tmp_path: Path, number: int) -> None:
    """What was deleted is for sure the version copied: the bytes are put back (H23)."""
    world = World(tmp_path, CONDITIONAL)
    _switched(world)
    _name_it_during_the_delete(world, number)

    assert world.get(number) == b"v1"
    assert world.move(1).state is MoveState.KEPT


@pytest.mark.parametrize("taken", [True, False], ids=["taken", "no copy"])
def test_bytes_that_cannot_be_put_back_are_reported(tmp_path: Path, *, taken: bool) -> None:
    """The old key is somebody's by now, or the copy is gone: said, and nothing overwritten (H23)."""
    world = World(tmp_path, CONDITIONAL)
    _switched(world)

    def interfere(name: str, _key: str) -> None:
        if name == "delete":
            world.add(2, O1, body=None)
        if name == "read" and taken:
            world.store.app_put(O1, b"theirs")
        if name == "read" and not taken:
            world.store.app_delete(N1)

    world.later(100)
    world.store.on_call = interfere
    world.do("delete", [1])

    assert world.move(1).reason is ParkedReason.CONFLICT
    assert world.store.contents() == ({O1: b"theirs", N1: b"v1"} if taken else {})


@pytest.mark.parametrize("condition", ["put_if_absent", "complete_if_absent"])
def test_bytes_are_not_put_back_where_nothing_keeps_them_from_going_over_others(tmp_path: Path, condition: str) -> None:
    """The operator's word is for new keys alone: at the old one a new upload may lie by now (H23, S3)."""
    behaviour = dataclasses.replace(CONDITIONAL, **{condition: False})
    large = {"inline_bytes": 1} if condition == "complete_if_absent" else {}
    world = World(tmp_path, behaviour, settings={"copy_mode": "server", **large})
    _switched(world)

    def interfere(name: str, _key: str) -> None:
        if name == "delete":
            world.add(2, O1, body=None)
        if name in {"put", "complete_upload"}:
            world.store.app_put(O1, b"theirs")

    world.later(100)
    world.store.on_call = interfere
    world.do("delete", [1])

    assert world.move(1).reason is ParkedReason.CONFLICT
    assert "damage" in str(world.move(1).detail)
    assert world.store.contents() == {N1: b"v1"}


def test_row_that_names_the_object_during_an_unconditional_delete_is_reported(tmp_path: Path) -> None:
    """The delete may have taken a new upload: nobody guesses whose bytes are meant (H23)."""
    world = World(tmp_path, LIKE_MINIO)
    _switched(world)
    _name_it_during_the_delete(world, 2)

    assert world.move(1).reason is ParkedReason.CONFLICT
    assert "damage" in str(world.move(1).detail)


def test_crash_after_the_delete_still_asks_the_rows_again(world: World) -> None:
    """The reply was lost, and a row came to name the object meanwhile: said, not counted as deleted (H23, H31)."""
    _switched(world)
    world.later(100)
    world.store.faults.add(Fault.lose_reply(), on="delete")
    world.do("delete")
    world.add(2, O1, body=None)
    world.later(31)
    world.do("delete", [1])

    assert world.move(1).state is not MoveState.DELETED


@pytest.mark.parametrize("on", ["delete", "delete_key"])
@pytest.mark.parametrize("error", [StoreRequestError, BadKeyError], ids=["500", "500 for an odd key"])
def test_delete_that_was_carried_out_and_answered_by_an_error_was_ours(world: World, on: str, error: type[ObjectError]) -> None:
    """A 500 says nothing of what was done: the object that is gone afterwards did not vanish (H31)."""
    _switched(world)
    world.later(100)
    world.store.faults.add(Fault.answer(error), on=on)
    world.do("delete")
    assert _is_deleted(world)
    if world.move(1).state is MoveState.PARKED:
        world.context.reopening.retry(world.run, Selection())
    world.go()

    assert world.move(1).state is MoveState.DELETED
    assert world.move(1).detail is None
    assert world.move(1).intent_at is not None


def test_row_that_names_an_object_whose_delete_was_answered_by_an_error_is_seen(tmp_path: Path) -> None:
    """As after each delete: it gets its bytes back (H23)."""
    world = World(tmp_path, CONDITIONAL)
    _switched(world)
    world.later(100)
    world.store.faults.add(Fault.answer(StoreRequestError), on="delete")
    world.do("delete")
    world.add(2, O1, body=None)
    for _ in range(3):
        world.later(31)
        world.do("delete", [1])

    assert world.get(2) == b"v1"
    assert world.move(1).state is MoveState.KEPT


@pytest.mark.parametrize("error", [ConditionFailedError, DeniedError, LockedError])
def test_delete_that_is_refused_leaves_no_intent(world: World, error: type[ObjectError]) -> None:
    """The store says that the object is still there: one that vanishes later was not deleted by us (H31)."""
    _switched(world)
    world.later(100)
    world.store.faults.add(Fault.refuse(error), on="delete_key")
    world.do("delete")

    assert world.move(1).intent_at is None


# Chains and cycles


@pytest.mark.parametrize("first", [1, 2])
def test_chain_moves_in_any_order(world: World, first: int) -> None:
    """Row 1 moves a to b, row 2 moves b to c: b is free once it was deleted, whoever is planned first."""
    other = 3 - first
    world.add(first, "in/x.png", client=7, body=b"first")
    world.add(other, "clients/7/assets/x.png", client=8, body=b"second")
    world.go()

    assert world.states() == {"deleted": 2}
    assert world.get(first) == b"first"
    assert world.get(other) == b"second"
    assert world.store.contents() == {"clients/7/assets/x.png": b"first", "clients/8/assets/x.png": b"second"}


def test_cycle_is_parked_at_the_end_and_everything_else_moves(world: World) -> None:
    """Swapped keys wait for each other; when only they are left they are parked as target_exists (S9)."""
    world.add(1, "clients/8/assets/x.png", client=7, body=b"one")
    world.add(2, "clients/7/assets/x.png", client=8, body=b"two")
    world.add(3, "in/y.png", client=7)
    world.go()

    assert world.parked() == {"target_exists": 2}
    assert (world.get(1), world.get(2), world.get(3)) == (b"one", b"two", b"v1")
    assert world.move(3).state is MoveState.DELETED


def test_chain_behind_a_cycle_ends(world: World) -> None:
    """A move that waits for one of a cycle ends with it (S9)."""
    world.add(1, "clients/8/assets/x.png", client=7, body=b"one")
    world.add(2, "clients/7/assets/x.png", client=8, body=b"two")
    world.add(3, "in/x.png", client=8, body=b"three")
    world.go()

    assert world.is_over()
    assert [world.get(number) for number in (1, 2, 3)] == [b"one", b"two", b"three"]


def test_object_copied_to_a_former_old_key_is_not_taken_for_a_late_write(world: World) -> None:
    """The object b was deleted without a reply, a was copied to b: that is the other move's copy and no change of b (H1c)."""
    world.add(1, "in/x.png", client=7, body=b"first")
    world.add(2, "clients/7/assets/x.png", client=8, body=b"second")
    world.store.faults.add(Fault.lose_reply(), on="delete")
    world.go()

    assert (world.get(1), world.get(2)) == (b"first", b"second")
    assert world.states() == {"deleted": 2}


def test_copy_of_another_asset_at_the_old_key_is_no_late_write(world: World) -> None:
    """A move was parked after its switch, its old object went, and another asset was copied there: that is not its own, newer (H1)."""
    world.add(1, "up/x.png", body=b"first")
    world.add(2, "clients/7/assets/x.png", client=8, body=b"second")
    world.seed()
    world.do("copy", [2])
    world.do("rename", [2])
    world.set_columns(2, state="parked", parked_from="renamed", reason="failed", stage=None)
    world.store.app_delete("clients/7/assets/x.png")
    world.later(100)
    world.do("copy", [1])
    assert world.store.contents()["clients/7/assets/x.png"] == b"first"

    world.set_columns(2, state="renamed", parked_from=None, reason=None, stage="delete", due_at=0)
    world.do("delete", [2])

    assert world.store.contents()["clients/8/assets/x.png"] == b"second"
    assert world.store.contents()["clients/7/assets/x.png"] == b"first"
    assert world.move(2).state is MoveState.KEPT
