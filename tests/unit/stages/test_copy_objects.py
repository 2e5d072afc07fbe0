"""The copy stage: every object gets a proved copy at its new key, and nothing foreign is overwritten (S3)."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from app.errors import (
    ArchivedError,
    DeniedError,
    EncryptedError,
    FidelityError,
    LockedError,
    MissingObjectError,
    RekeyError,
    StoreRequestError,
)
from app.fidelity_rules import Attribute
from app.looks import MAX_AGE_SECONDS
from app.object_store import ObjectAttributes
from app.states import MoveState, ParkedReason
from app.testing import Behaviour, Fault, FixedDeadline
from app.testing.versions import CONDITIONAL, LIKE_MINIO
from tests.builders import World, damage_read, damaged

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from app.errors import ObjectError
    from app.object_store import ObjectInfo, Writing

O1, N1 = "up/1.png", "clients/7/assets/1.png"
LOGO = b"logo"
BY_COPYOBJECT = dataclasses.replace(LIKE_MINIO, takes_snowballs=False)  # where small objects would go by snowballs otherwise


def _write_request(world: World) -> str:
    """The port's method by which this store gets a small copy."""
    return "copy" if world.store.capabilities.copy_if_absent else "put"


def _copy_and_die(world: World) -> None:
    """A worker claims, writes the copy and is killed before it records anything; the reconciler notices."""
    world.crash_in("copy")
    world.store.app_put(N1, world.store.app_get(O1))
    world.later(world.context.settings.lease_seconds + 1)
    world.tick()


def _die_and_copy(world: World) -> None:
    """The same, but that what the worker sent, or an equal upload of the service, comes only later."""
    world.crash_in("copy")
    world.later(world.context.settings.lease_seconds + 1)
    world.tick()
    world.store.app_put(N1, world.store.app_get(O1))


def test_copy_carries_bytes_headers_and_tags(world: World) -> None:
    """A reader of the new key sees what a reader of the old one saw (case 12)."""
    world.add(1, body=None)
    world.store.app_put(O1, b"v1", {"content-type": "image/png", "x-amz-meta-by": "anna"}, tags="a=1&b=2")
    world.moved(up_to="copy")
    there = world.store.versions(N1)[-1]

    assert (there.body, there.headers, there.tags) == (b"v1", {"content-type": "image/png", "x-amz-meta-by": "anna"}, "a=1&b=2")
    assert world.move(1).state is MoveState.COPIED
    assert world.key(1) == O1


@pytest.mark.parametrize("room", [True, False], ids=["idle", "busy"])
def test_next_object_is_read_while_one_is_written(world: World, monkeypatch: pytest.MonkeyPatch, *, room: bool) -> None:
    """A far store answers both at once; not where the processors are busy, nor where the store copies by itself."""
    asked: list[list[str]] = []

    def read_ahead(keys: Sequence[str]) -> int:
        asked.append(list(keys))
        return len(keys)

    monkeypatch.setattr(world.store, "read_ahead", read_ahead)
    most_reads = 2 * world.context.settings.copy_concurrency  # of looks there may be more
    monkeypatch.setattr(world.context.crowd, "lend", lambda wanted, *, most: int(room and most == most_reads and wanted == 1))
    for number in (1, 2, 3):
        world.add(number)
    world.moved(up_to="copy")
    by_worker = room and _write_request(world) == "put"

    assert asked == [["up/2.png"], ["up/3.png"], []] if by_worker else [[]]
    assert [world.move(number).state for number in (1, 2, 3)] == [MoveState.COPIED] * 3
    assert world.context.crowd._working == (-2 if by_worker else 0)  # what was lent was given back, one by one


@pytest.mark.parametrize("lent", [0, 1, 3])
def test_objects_are_read_together_and_the_next_ones_while_those_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lent: int
) -> None:
    """As many as the task has places for; what could be sent ahead is not sent again."""
    world = World(tmp_path, behaviour=LIKE_MINIO, settings={"copy_concurrency": 4})
    asked: list[list[str]] = []
    ahead = world.store.read_ahead

    def read_ahead(keys: Sequence[str]) -> int:
        asked.append([key[3] for key in keys])
        return ahead(keys)

    monkeypatch.setattr(world.store, "read_ahead", read_ahead)
    monkeypatch.setattr(world.context.crowd, "lend", lambda wanted, **_: min(wanted, lent))
    for number in (1, 2, 3, 4, 5):
        world.add(number)
    world.moved(up_to="copy")
    reads = [key for name, key in world.store.calls if name == "read"]

    while_written = [["3", "4"][:lent], ["5"][:lent]]
    expected = [["1", "2"], while_written[0], ["3", "4"], while_written[1], ["5"]]
    assert asked == [keys for keys in expected if keys] + [[]]
    assert reads == [f"up/{number}.png" for number in (1, 2, 3, 4, 5)]
    assert world.states() == {"copied": 5}


@pytest.mark.parametrize("begun", [0, 1])
def test_fewer_copies_are_under_way_where_fewer_reads_could_be_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: int) -> None:
    """As many as there are connections; one in any case."""
    world = World(tmp_path, behaviour=LIKE_MINIO, settings={"copy_concurrency": 4})
    ahead = world.store.read_ahead
    monkeypatch.setattr(world.store, "read_ahead", lambda keys: ahead(keys[:begun]))
    for number in (1, 2, 3):
        world.add(number)
    world.moved(up_to="copy")

    assert [name for name, _ in world.store.calls if name in {"read", "put"}] == ["read", "put"] * 3
    assert world.states() == {"copied": 3}


def test_object_that_is_overwritten_after_it_was_read_ahead_is_copied_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy is of the version that was read, and the switch is of no other (S1)."""
    seen, read = {}, world.store.read

    def read_ahead(keys: Sequence[str]) -> int:
        for key in keys:
            seen[key] = read(key, max_bytes=100)
            world.store.app_put(key, b"newer")
        return len(keys)

    monkeypatch.setattr(world.store, "read_ahead", read_ahead)
    monkeypatch.setattr(world.store, "read", lambda key, **more: seen.pop(key) if key in seen else read(key, **more))
    for number in (1, 2):
        world.add(number)
    world.moved()
    world.go()

    assert (world.get(1), world.get(2)) == (b"v1", b"v1" if _write_request(world) == "copy" else b"newer")
    assert [world.move(number).state for number in (1, 2)] == [MoveState.DELETED] * 2


@pytest.mark.parametrize("age", [0, 3600], ids=["young", "old"])
def test_foreign_object_at_the_new_key_is_untouched(world: World, age: int) -> None:
    """Whatever its age, another object is never overwritten: the asset is parked (case 30)."""
    world.add(1)
    world.store.app_put(N1, b"theirs")
    world.later(age)
    world.moved()

    assert world.move(1).reason is ParkedReason.TARGET_EXISTS
    assert world.key(1) == O1
    assert world.store.contents() == {O1: b"v1", N1: b"theirs"}


def test_equal_object_with_other_headers_is_foreign(world: World) -> None:
    """Equal bytes alone make no object ours (H12)."""
    world.add(1)
    world.store.app_put(N1, b"v1", {"content-type": "image/png"})
    world.later(3600)
    world.moved()

    assert world.move(1).reason is ParkedReason.TARGET_EXISTS


def test_equal_object_that_nobody_names_is_adopted_once_it_is_old(world: World) -> None:
    """Left over from an earlier attempt, say: older than SETTLE_SECONDS, no row will come for it any more (S3)."""
    world.add(1)
    world.store.app_put(N1, b"v1")
    world.later(31)
    world.moved()

    assert world.move(1).state is MoveState.RENAMED
    assert not world.move(1).copy_recorded


@pytest.mark.parametrize("written", ["long_ago", "after_an_earlier_claim"])
def test_old_object_itself_is_not_adopted_where_the_store_folds_keys_unknown_to_the_probe(
    world: World, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    """Old and new key are one object there, and no answer of the probe says so: the delete would take the only copy (case 1)."""
    folding = dataclasses.replace(world.store.capabilities, folds_case=False)
    monkeypatch.setattr(world.store, "_behaviour", dataclasses.replace(world.behaviour, folds_case=True))
    monkeypatch.setattr(type(world.store), "capabilities", property(lambda _: folding))
    world.add(1, "Clients/7/Assets/1.png")
    if written == "after_an_earlier_claim":
        world.seed()
        world.crash_in("copy")
        world.later(1)
        world.store.app_put("Clients/7/Assets/1.png", b"v1")
    world.later(3600)
    world.go()

    assert world.parked() == {"target_exists": 1}
    assert world.get(1) == b"v1"


def test_equal_object_that_is_young_is_not_adopted(world: World) -> None:
    """The row of an upload may still be on its way (A3)."""
    world.add(1)
    world.store.app_put(N1, b"v1")
    world.later(10)
    world.moved()

    assert world.move(1).reason is ParkedReason.TARGET_EXISTS


def test_copy_made_before_a_crash_is_recognised(world: World) -> None:
    """An earlier claim of this move is on record, and the object is equal and no older: ours, though its reply was lost (H12)."""
    world.add(1)
    world.seed()
    _copy_and_die(world)
    world.do("copy")

    assert world.move(1).state is MoveState.COPIED
    assert not world.move(1).copy_recorded


def test_nothing_goes_over_an_inferred_copy_before_its_row_must_be_there(world: World) -> None:
    """It may be an equal upload of the service, whose row comes within the settle time (A3): that row's asset is not written over (H12)."""
    world.add(1)
    world.seed()
    _die_and_copy(world)
    world.do("copy")
    world.store.app_put(O1, b"v2")
    world.do("rename")
    world.do("copy")
    assert world.store.contents()[N1] == b"v1"

    world.sql("INSERT INTO assets (id, client_id, object_key) VALUES (2, 7, :key)", key=N1)
    world.later(world.context.settings.settle_seconds + 2)
    world.do("copy")

    assert world.store.contents()[N1] == b"v1"
    assert world.move(1).reason is ParkedReason.TARGET_EXISTS


def test_inferred_copy_is_written_over_when_no_row_has_come_for_it(world: World) -> None:
    """Then it was ours."""
    world.add(1)
    world.seed()
    _die_and_copy(world)
    world.do("copy")
    world.store.app_put(O1, b"v2")
    world.do("rename")
    world.do("copy")
    world.later(world.context.settings.settle_seconds + 2)
    world.do("copy")

    assert world.store.contents()[N1] == b"v2"
    assert world.move(1).state is MoveState.COPIED


@pytest.mark.parametrize("named", [True, False], ids=["its row comes", "no row comes"])
def test_no_row_is_switched_to_an_inferred_copy_before_its_row_must_be_there(world: World, *, named: bool) -> None:
    """Two assets would share the object: what either's service writes there, or late to the old key, would be the other's too (H12, S3)."""
    world.add(1)
    world.seed()
    _die_and_copy(world)
    world.do("copy")
    world.do("rename")
    assert (world.move(1).state, world.key(1)) == (MoveState.COPIED, O1)

    if named:
        world.sql("INSERT INTO assets (id, client_id, object_key) VALUES (2, 7, :key)", key=N1)
    world.later(world.context.settings.settle_seconds + 2)
    world.do("rename")

    assert world.store.contents()[N1] == b"v1"
    assert (world.key(1), world.move(1).reason) == ((O1, ParkedReason.TARGET_EXISTS) if named else (N1, None))


def test_object_from_before_the_crashed_claim_is_not_ours(world: World) -> None:
    """It was there before anybody of us was."""
    world.add(1)
    world.store.app_put(N1, b"v1")
    world.later(5)
    world.seed()
    world.crash_in("copy")
    world.later(20)
    world.tick()
    world.set_columns(1, lease_until=0, lease_token=None, due_at=0)
    world.do("copy")

    assert world.move(1).reason is ParkedReason.TARGET_EXISTS


def test_waiting_is_no_claim_to_what_appears_meanwhile(world: World) -> None:
    """A move that waited has written nothing: an equal object that comes to its new key is the application's (H12)."""
    world.add(1, "up/b.png", body=LOGO)
    world.add(2, "clients/7/assets/b.png", client=8, body=b"other")
    world.seed()
    world.do("copy", [1])
    assert world.move(1).waiting
    world.sql("UPDATE assets SET object_key = 'gone' WHERE id = 2")
    world.set_columns(2, state="superseded", stage=None, live_hash=None)
    world.store.app_put("clients/7/assets/b.png", LOGO)
    world.later(5)
    world.do("copy", [1])

    assert world.move(1).reason is ParkedReason.TARGET_EXISTS


def test_move_that_waits_no_longer_is_not_counted_as_waiting(world: World) -> None:
    """Its blocker is gone, and now its source is missing: that is another matter (S9)."""
    world.add(1, "up/b.png", body=None)
    world.add(2, "clients/7/assets/b.png", client=8)
    world.seed()
    world.do("copy", [1])
    assert world.move(1).waiting
    world.save_key(2, "elsewhere")
    world.set_columns(2, state="superseded", stage=None, live_hash=None)
    world.later(5)
    world.do("copy", [1])

    assert (world.move(1).state, world.move(1).waiting) == (MoveState.PLANNED, False)


@pytest.mark.parametrize(
    "fault",
    [Fault.refuse(StoreRequestError), Fault.lose_reply(), Fault.refuse(RekeyError("of ours"))],
    ids=["refused", "unanswered", "a fault of ours"],
)
def test_move_that_had_an_error_is_not_counted_as_waiting(world: World, fault: Fault) -> None:
    """Its blocker is gone, and its copy fails: it is not waked before its time, nor taken for one that waits (S9)."""
    world.add(1, "up/b.png")
    world.add(2, "clients/7/assets/b.png", client=8)
    world.seed()
    world.do("copy", [1])
    assert world.move(1).waiting
    world.store.app_delete("clients/7/assets/b.png")
    world.save_key(2, "elsewhere")
    world.set_columns(2, state="superseded", stage=None, live_hash=None)
    world.later(5)
    world.store.faults.add(fault, on=_write_request(world))
    with suppress(RekeyError):
        world.do("copy", [1])

    assert (world.move(1).state, world.move(1).waiting) == (MoveState.PLANNED, False)
    assert world.move(1).detail is not None
    assert not world.context.queues.is_waiting(world.run)


def test_looking_for_a_source_is_no_claim_to_what_appears_meanwhile(world: World) -> None:
    """A move whose source was missing has written nothing either."""
    world.add(1, body=None)
    world.seed()
    world.do("copy")
    world.store.app_put(O1, LOGO)
    world.store.app_put(N1, LOGO)
    world.later(5)
    world.do("copy")

    assert world.move(1).reason is ParkedReason.TARGET_EXISTS


def test_row_that_names_the_new_key_counts_as_an_object_there(world: World) -> None:
    """The row came first, its upload is still to come: nothing is written under its key (H5)."""
    world.add(1)
    world.add(2, N1, body=None)
    world.seed()
    world.do("copy", [world.move(1).id])

    assert world.move(1).reason is ParkedReason.TARGET_EXISTS
    assert world.store.contents() == {O1: b"v1"}


def test_other_table_that_names_the_new_key_counts_too(tmp_path: Path, behaviour: Behaviour) -> None:
    """REFERENCES lists columns of other tables (A4)."""
    world = World(
        tmp_path,
        behaviour,
        table="CREATE TABLE assets (id INTEGER PRIMARY KEY, client_id INTEGER, object_key TEXT); CREATE TABLE thumbs (file TEXT)",
        settings={"references": ("thumbs.file",)},
    )
    world.add(1)
    world.sql("INSERT INTO thumbs VALUES (:key)", key=N1)
    world.moved()

    assert world.move(1).reason is ParkedReason.TARGET_EXISTS


def test_missing_source_is_parked_only_after_looks_spread_in_time(world: World) -> None:
    """A present object may answer 404 for a moment (case 16), and a row may be written before its object (A3)."""
    world.add(1, body=None)
    world.seed()
    for _ in range(5):
        world.do("copy")
        assert world.move(1).state is MoveState.PLANNED
        world.later(5)
    world.later(30)
    world.do("copy")

    assert world.move(1).reason is ParkedReason.MISSING_SOURCE


def test_object_that_comes_after_its_row_is_moved(world: World) -> None:
    """Row first, upload within SETTLE_SECONDS (A3)."""
    world.add(1, body=None)
    world.seed()
    world.do("copy")
    world.later(20)
    world.store.app_put(O1, b"late")
    world.go()

    assert world.get(1) == b"late"
    assert world.states() == {"deleted": 1}


@pytest.mark.parametrize("request_name", ["stat", "read", "list_page"])
def test_one_404_for_a_present_object_parks_nothing(world: World, request_name: str) -> None:
    """Case 16."""
    world.add(1)
    world.seed()
    world.store.faults.add(Fault.not_found(), on=request_name)
    world.go()

    assert world.states() == {"deleted": 1}
    assert world.get(1) == b"v1"


def test_404_for_the_copy_that_was_just_written_loses_no_evidence(tmp_path: Path) -> None:
    """The proof of a large copy failed to find it: it is looked at again, and is still ours."""
    world = World(tmp_path, LIKE_MINIO, settings={"inline_bytes": 1})
    world.add(1, body=b"a large one")
    world.seed()
    world.store.faults.add(Fault.not_found(), on="stat", key=N1)
    world.do("copy")
    assert world.move(1).state is MoveState.PLANNED
    world.later(5)
    world.do("copy")

    assert world.move(1).state is MoveState.COPIED


def test_large_objects_are_copied_by_parts(tmp_path: Path) -> None:
    """Above INLINE_BYTES the store copies, and the completion carries the condition (S3)."""
    world = World(tmp_path, LIKE_MINIO, settings={"inline_bytes": 4})
    world.add(1, body=b"larger than four bytes")
    world.add(2, body=b"")
    world.store.app_put(N1, b"theirs")
    world.moved()

    assert world.move(1).reason is ParkedReason.TARGET_EXISTS
    assert world.store.app_get(N1) == b"theirs"
    assert world.get(2) == b""
    assert world.store.unfinished_uploads() == []


def test_lost_reply_keeps_the_lease_until_the_request_has_expired(world: World) -> None:
    """The PUT may still arrive: nobody acts on that key before the lease is over, and then the copy is found to be ours (S7, H2)."""
    world.add(1)
    world.add(2)
    world.seed()
    world.store.faults.add(Fault.delay(), on=_write_request(world), key=N1)
    world.do("copy")
    assert (world.column(1, "lease_kept"), world.move(2).state) == (True, MoveState.PLANNED)
    world.later(10)
    world.do("copy")
    assert (world.move(1).state, world.move(2).state) == (MoveState.PLANNED, MoveState.COPIED)
    world.store.delayed.pop().deliver()
    world.go()

    assert world.states() == {"deleted": 2}
    assert world.move(1).suspect is False


def test_delayed_write_dies_with_its_lease(world: World) -> None:
    """A second worker copies after the lease; the first worker's PUT is refused by the store (H2, M2)."""
    world.add(1)
    world.seed()
    world.store.faults.add(Fault.delay(), on=_write_request(world), key=N1)
    world.do("copy")
    world.later(31)
    world.moved(up_to="rename")
    world.store.app_put(N1, b"v2")
    world.store.delayed.pop().deliver()

    assert world.get(1) == b"v2"


def test_unavailable_store_counts_no_attempt(world: World) -> None:
    """503 is an outage, not the asset's fault (case 17, S8): everything is given back and tried again soon."""
    world.add(1)
    world.add(2)
    world.seed()
    world.store.faults.add(Fault.slow_down(), on=_write_request(world), times=8)
    for _ in range(8):
        world.do("copy")
        world.later(5)
    assert [move.attempts for move in world.moves()] == [0, 0]
    world.go()

    assert world.states() == {"deleted": 2}


def test_recorded_errors_park_after_max_attempts(world: World) -> None:
    """Any other refusal counts, and is tried again with growing waits (S8)."""
    world.add(1)
    world.add(2)
    world.seed()
    world.store.faults.add(Fault.refuse(StoreRequestError), on=_write_request(world), key=N1, times=None)
    world.go()

    assert world.parked() == {"failed": 1}
    assert world.move(1).attempts == world.context.settings.max_attempts - 1
    assert N1 in str(world.move(1).detail)
    assert world.move(2).state is MoveState.DELETED


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DeniedError, ParkedReason.DENIED),
        (ArchivedError, ParkedReason.ARCHIVED),
        (EncryptedError, ParkedReason.ENCRYPTED),
        (FidelityError, ParkedReason.FIDELITY),
        (LockedError, ParkedReason.LOCKED),
    ],
)
def test_refusal_that_no_repetition_mends_parks_at_once(world: World, error: type[ObjectError], reason: ParkedReason) -> None:
    """The closed list of reasons; the mates go on (case 12, 13, 15)."""
    world.add(1)
    world.add(2)
    world.store.faults.add(Fault.refuse(error), on=_write_request(world), key=N1)
    world.moved()

    assert (world.move(1).reason, world.move(1).parked_from) == (reason, MoveState.PLANNED)
    assert world.move(2).state is MoveState.RENAMED


def test_source_in_constant_change_is_given_up_and_our_copy_removed(tmp_path: Path, behaviour: Behaviour) -> None:
    """Bounded: an asset that is written whenever it was copied does not spin (S9), and leaves no copy behind (H17)."""
    world = World(tmp_path, behaviour, settings={"max_attempts": 1})
    world.add(1)
    world.seed()
    for number in range(9):
        world.do("copy")
        world.later(3)
        world.store.app_put(O1, b"v%d" % number)
        world.do("rename")

    assert world.move(1).reason is ParkedReason.CHANGED_TOO_OFTEN
    assert world.store.contents() == {O1: b"v8"}


def test_copy_that_a_store_misses_when_it_is_to_be_replaced_is_written_anew(world: World) -> None:
    """Some stores answer 404 to a conditional write over an object that is gone, others 412: written anew either way."""
    world.add(1)
    world.moved(up_to="copy")
    world.later(3)
    world.store.app_put(O1, b"v2")
    world.do("rename")
    world.store.app_delete(N1)
    world.store.faults.add(Fault.refuse(MissingObjectError), on=_write_request(world), key=N1)
    world.go()

    assert world.states() == {"deleted": 1}
    assert (world.get(1), world.move(1).changes <= 3) == (b"v2", True)


def test_source_that_changes_between_look_and_copy_is_copied_again(tmp_path: Path) -> None:
    """Where the store copies by itself the version looked at is a condition: refused, and looked at anew."""
    world = World(tmp_path)
    world.add(1)
    world.seed()
    world.store.on_call = lambda name, _key: world.store.app_put(O1, b"v2") if name == "copy" else None  # type: ignore[func-returns-value]
    world.do("copy")
    world.store.on_call = None
    assert (world.move(1).state, world.move(1).changes) == (MoveState.PLANNED, 1)
    world.go()

    assert world.get(1) == b"v2"


def test_foreign_object_that_goes_while_it_is_compared_is_no_obstacle(world: World) -> None:
    """It was in the way, and is gone when it is read."""
    world.add(1)
    world.seed()
    world.store.app_put(N1, b"theirs")
    world.store.on_call = lambda name, key: world.store.app_delete(N1) if (name, key) == ("read", N1) else None
    world.do("copy")
    world.store.on_call = None
    world.go()

    assert world.get(1) == b"v1"


def test_source_that_may_not_be_looked_at_parks(world: World) -> None:
    """403 is neither missing nor present (case 15)."""
    world.add(1)
    world.seed()
    for request in ("stat", "read"):
        world.store.faults.add(Fault.refuse(DeniedError), on=request, key=O1)
    world.do("copy")

    assert world.move(1).reason is ParkedReason.DENIED


def test_row_in_place_that_the_seed_could_not_see_is_looked_at_again(world: World) -> None:
    """A 404 in the seed's look costs no copy and parks nothing (case 16)."""
    world.add(1, N1)
    for request in ("stat", "list_page"):
        world.store.faults.add(Fault.not_found(), on=request)
    world.go()

    assert (world.states(), world.writes()) == ({"in_place": 1}, [])


def test_stopping_worker_ends_a_large_copy_between_two_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And gives its moves back at once."""
    from app import copying  # noqa: PLC0415 - patched

    monkeypatch.setattr(copying, "PART_BYTES", 4)
    world = World(tmp_path, LIKE_MINIO, settings={"inline_bytes": 4})
    world.add(1, body=b"twenty bytes or more")
    world.add(2)
    world.seed()
    stopped: list[bool] = []
    world.store.on_call = lambda name, _key: stopped.append(True) if name == "copy_part" else None
    result = world.do("copy", worker=world.worker(stopping=lambda: bool(stopped)))

    assert (world.states(), sorted(result.again), world.store.unfinished_uploads()) == ({"planned": 2}, [1, 2], [])


@pytest.mark.parametrize("case", ["gone", "changed", "elsewhere"])
def test_row_set_back_is_not_healed_without_the_very_copy(world: World, case: str) -> None:
    """The record of an earlier run says where the bytes lay; if they do not any more, the source is missing (H14)."""
    world.add(1)
    world.go()
    world.save_key(1, O1)
    if case == "gone":
        world.store.app_delete(N1)
    elif case == "changed":
        world.store.app_put(N1, b"something else")
    else:
        world.sql("UPDATE assets SET client_id = 8")
    world.run_id = ""
    world.go()

    assert (world.key(1), world.parked()) == (O1, {"missing_source": 1})


def test_take_down_of_a_source_that_was_to_be_copied_again_removes_the_copy(world: World) -> None:
    """The first copy must not outlive the object that was taken down before the switch (H24)."""
    world.add(1)
    world.moved(up_to="copy")
    world.later(3)
    world.store.app_put(O1, b"v2")
    world.do("rename")
    world.store.app_delete(O1)
    world.go()

    assert world.move(1).reason is ParkedReason.MISSING_SOURCE
    assert world.store.contents() == {}


def test_row_switched_by_the_application_before_our_copy_needs_no_move(world: World) -> None:
    """The application moved the asset itself between plan and copy: nothing is parked (S8)."""
    world.add(1)
    world.seed()
    world.store.app_put(N1, b"v1")
    world.save_key(1, N1)
    world.do("copy")

    assert world.move(1).state is MoveState.SUPERSEDED


def test_row_pointed_elsewhere_before_the_copy_is_planned_again(world: World) -> None:
    """The old object is gone and the row names another: planned again in place, one generation on (H9c)."""
    world.add(1)
    world.seed()
    world.store.app_delete(O1)
    world.store.app_put("up/other.png", b"other")
    world.save_key(1, "up/other.png")
    world.go()

    assert world.key(1) == "clients/7/assets/other.png"
    assert (world.move(1).state, world.move(1).generation) == (MoveState.DELETED, 2)


def test_deleted_row_before_the_copy_is_superseded(world: World) -> None:
    """Row and object are gone: nothing to move, nothing parked."""
    world.add(1)
    world.seed()
    world.sql("DELETE FROM assets")
    world.store.app_delete(O1)
    world.do("copy")

    assert world.move(1).state is MoveState.SUPERSEDED


@pytest.mark.parametrize("row_goes", [True, False])
def test_copy_without_a_record_is_listed_when_its_asset_goes(world: World, *, row_goes: bool) -> None:
    """A worker died between a copy and its record, and the service removed the asset since: no look at the source leads to the copy."""
    world.add(1)
    world.seed()
    world.crash_in("copy")
    world.store.app_put(N1, b"v1")  # what it had written
    if row_goes:
        world.sql("DELETE FROM assets")
    world.store.app_delete(O1)
    world.go()

    assert world.move(1).state is (MoveState.SUPERSEDED if row_goes else MoveState.PARKED)
    assert f"copy was left at {N1!r}" in str(world.move(1).detail)
    assert world.store.app_get(N1) == b"v1"


def test_copy_without_a_record_is_listed_though_it_cannot_be_looked_at(world: World) -> None:
    """Nothing says that it is not there."""
    world.add(1)
    world.seed()
    world.crash_in("copy")
    world.sql("DELETE FROM assets")
    world.store.app_delete(O1)
    world.store.faults.add(Fault.refuse(DeniedError), on="stat", key=N1)
    world.go()

    assert f"copy was left at {N1!r}" in str(world.move(1).detail)


def test_nothing_is_listed_where_a_dead_worker_left_nothing(world: World) -> None:
    """Nor is another's object at the new key, where nobody had begun to copy before."""
    world.add(1)
    world.add(2)
    world.seed()
    world.crash_in("copy", [1])
    world.store.app_put("clients/7/assets/2.png", b"another's")
    world.sql("DELETE FROM assets")
    world.store.app_delete(O1)
    world.store.app_delete("up/2.png")
    world.go()

    assert [(world.move(number).state, world.move(number).detail) for number in (1, 2)] == [(MoveState.SUPERSEDED, "the row is gone")] * 2


def test_replanned_key_that_another_move_wants_is_a_collision_of_its_own(world: World) -> None:
    """One ledger row an asset row, whatever happens (H9d, H25): the record of its mates is not lost with it."""
    world.add(1)
    world.add(2)
    world.add(3)
    world.moved(up_to="copy")
    world.store.app_put("in/2.png", b"other")
    world.save_key(1, "in/2.png")
    world.do("rename")

    assert (world.move(1).state, world.move(1).reason) == (MoveState.PARKED, ParkedReason.COLLISION)
    assert world.move(1).old_key == "in/2.png"
    assert [world.move(number).state for number in (2, 3)] == [MoveState.RENAMED, MoveState.RENAMED]
    assert N1 not in world.store.contents()


def test_row_set_back_after_an_earlier_run_is_healed(world: World) -> None:
    """The old object is gone, the bytes lie at the new key: the row is named after them again (H14)."""
    world.add(1)
    world.go()
    world.save_key(1, O1)
    world.run_id = ""
    world.go()

    assert (world.key(1), world.get(1)) == (N1, b"v1")
    assert world.states() == {"deleted": 1}


def test_row_in_place_whose_object_is_missing_is_parked(world: World) -> None:
    """Being in place is looked at, not assumed (H33)."""
    world.add(1, N1, body=None)
    world.add(2, "clients/7/assets/2.png")
    world.go()

    assert world.parked() == {"missing_source": 1}
    assert world.move(2).state is MoveState.IN_PLACE
    assert world.writes() == []


@pytest.mark.parametrize("key", ["/clients/7/assets/1.png", "clients/7/assets/1.png"])
def test_same_object_under_another_spelling_only_has_its_row_corrected(tmp_path: Path, key: str) -> None:
    """MinIO takes both for one object: no copy and no delete, or the only object would be gone (case 1, 26)."""
    world = World(tmp_path, LIKE_MINIO)
    world.add(1, key)
    world.go()

    assert (world.key(1), world.get(1)) == (N1, b"v1")
    assert world.states() == {"in_place": 1}
    assert world.writes() == []


def test_other_spelling_is_another_object_where_the_store_says_so(tmp_path: Path) -> None:
    """On a store that folds nothing, `/x` and `x` are two objects: moved normally."""
    world = World(tmp_path)
    world.add(1, "/clients/7/assets/1.png")
    world.go()

    assert (world.key(1), world.get(1)) == (N1, b"v1")
    assert world.store.contents() == {N1: b"v1"}


@pytest.mark.parametrize(
    ("behaviour", "mode", "way", "other"), [(BY_COPYOBJECT, "server", "copy", "put"), (CONDITIONAL, "worker", "put", "copy")]
)
def test_way_that_is_wished_is_taken_and_overwrites_nothing_foreign(
    tmp_path: Path, behaviour: Behaviour, mode: str, way: str, other: str
) -> None:
    """REKEY_COPY=server, where a look stands in for the condition; =worker, though the store could copy under the same conditions."""
    world = World(tmp_path, behaviour, settings={"copy_mode": mode})
    world.add(1)
    world.add(2)
    world.store.app_put(N1, b"theirs")
    world.moved()

    assert world.move(1).reason is ParkedReason.TARGET_EXISTS
    assert world.store.app_get(N1) == b"theirs"
    assert world.get(2) == b"v1"
    assert (way, "clients/7/assets/2.png") in world.writes()
    assert other not in {request for request, _ in world.writes()}


@pytest.mark.parametrize("way", ["put", "parts"])
def test_copy_that_goes_another_way_than_by_the_store_is_preceded_by_a_look_too(tmp_path: Path, way: str) -> None:
    """REKEY_COPY=server on a store that refuses a CopyObject onto a taken key, and nothing else: for the others there is only the look."""
    behaviour = dataclasses.replace(CONDITIONAL, put_if_absent=False, complete_if_absent=False, copy_ignores=frozenset({Attribute.EXPIRES}))
    world = World(tmp_path, behaviour, settings={"copy_mode": "server", "inline_bytes": 1 if way == "parts" else 100})
    world.add(1, body=None)
    world.store.app_put(O1, b"v1", {"expires": "Thu, 01 Dec 1994 16:00:00 GMT"})  # by CopyObject it would be lost
    world.store.app_put(N1, b"theirs")
    world.moved()

    assert world.move(1).reason is ParkedReason.TARGET_EXISTS
    assert world.store.app_get(N1) == b"theirs"
    assert world.writes() == []


def test_condition_that_copyobject_honours_goes_with_it_whoever_vouches(tmp_path: Path) -> None:
    """The operator's word stands in for conditions that the store does not honour, not for those that it does."""
    world = World(tmp_path, dataclasses.replace(CONDITIONAL, put_if_absent=False), settings={"copy_mode": "server"})
    world.add(1)
    world.seed()
    world.store.on_call = lambda name, _key: world.store.app_put(N1, b"theirs") if name == "copy" else None
    world.do("copy")

    assert world.store.app_get(N1) == b"theirs"
    assert ("copy", N1) in world.writes()


def test_new_keys_that_lie_together_are_looked_at_together_where_the_operator_vouches(tmp_path: Path) -> None:
    """Not by a HEAD for each; a copy whose look has grown old is preceded by a new one."""
    world = World(tmp_path, BY_COPYOBJECT, settings={"copy_mode": "server"})
    for number in range(1, 31):
        world.add(number)
    world.seed()
    world.store.calls.clear()
    world.do("copy")
    new = [name for name, key in world.store.calls if key.startswith("clients/7/assets/") and name in {"stat", "head", "list_page"}]

    assert world.states() == {"copied": 30}
    assert new == ["list_page"]


@pytest.mark.parametrize(("rules", "asked"), [("", ["head"]), ("expires=ignore", []), ("tags=ignore", ["head"])])
def test_attribute_that_nobody_minds_is_not_looked_for(tmp_path: Path, rules: str, asked: list[str]) -> None:
    """MinIO's CopyObject drops Expires, which only a HEAD shows: the operator knows whether any object has it."""
    world = World(tmp_path, BY_COPYOBJECT, settings={"copy_mode": "server", "fidelity": rules})
    for number in range(1, 31):
        world.add(number)
    world.seed()
    world.store.calls.clear()
    world.do("copy")
    asked_for_old = {name for name, key in world.store.calls if key.startswith("up/") and name in {"stat", "head", "read"}}

    assert world.states() == {"copied": 30}
    assert sorted(asked_for_old) == asked


def test_look_at_a_new_key_that_has_grown_old_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was put there since is seen: only the operator's word stands between it and the copy."""
    world = World(tmp_path, BY_COPYOBJECT, settings={"copy_mode": "server"})
    for number in range(1, 31):
        world.add(number)
    world.seed()
    copy = world.store.copy

    def slow(source: ObjectInfo, key: str, **more: Any) -> ObjectInfo:  # noqa: ANN401 - conditions, deadlines
        copied = copy(source, key, **more)
        if key == N1:
            world.clock.advance(MAX_AGE_SECONDS + 0.1)
            world.store.app_put("clients/7/assets/2.png", b"theirs")
        return copied

    monkeypatch.setattr(world.store, "copy", slow)
    world.go()

    assert world.move(1).state is MoveState.DELETED
    assert world.move(2).reason is ParkedReason.TARGET_EXISTS
    assert world.store.app_get("clients/7/assets/2.png") == b"theirs"


def test_plain_copy_is_proved(tmp_path: Path) -> None:
    """A proxy that answers success and stores something else is seen (case 8)."""
    world = World(tmp_path, LIKE_MINIO, settings={"max_attempts": 2})
    world.add(1)
    world.seed()
    world.store.on_call = lambda name, _key: world.store.app_put(O1, b"v2!") if name == "put" else None
    world.do("copy")
    world.store.on_call = None
    world.go()

    assert world.get(1) == b"v2!"


def test_stopping_worker_gives_back_what_it_has_not_begun(world: World) -> None:
    """The flag is read between two requests; what was not begun is enqueued again at once."""
    for number in range(1, 4):
        world.add(number)
    world.seed()
    stopped: list[bool] = []
    worker = world.worker(stopping=lambda: bool(stopped))
    world.store.on_call = lambda name, _key: stopped.append(True) if name == _write_request(world) else None
    result = world.do("copy", worker=worker)

    assert world.states() == {"copied": 1, "planned": 2}
    assert sorted(result.again) == [2, 3]
    assert all(world.column(number, "lease_token") is None for number in (1, 2, 3))


def test_batch_is_given_back_after_a_few_seconds(world: World) -> None:
    """A task ends after about five seconds, so that pause and stop are heard (design, section 6)."""
    for number in range(1, 10):
        world.add(number)
    world.seed()
    world.store.on_call = lambda name, _key: world.later(2) if name == _write_request(world) else None
    result = world.do("copy")

    assert world.states() == {"copied": 3, "planned": 6}
    assert len(result.again) == 6


def test_large_copy_renews_its_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part takes long: the lease is renewed between two parts, and what is done already is recorded before (S7)."""
    from app import copying  # noqa: PLC0415 - patched

    monkeypatch.setattr(copying, "PART_BYTES", 4)
    world = World(tmp_path, LIKE_MINIO, settings={"inline_bytes": 4})
    world.add(1, body=b"tiny")
    world.add(2, body=b"twenty bytes or more")
    world.add(3, body=b"tiny")
    world.seed()
    ticks: list[int] = []

    def slow(name: str, _key: str) -> None:
        if name == "copy_part":
            world.later(9)
            ticks.extend(len(ids) for _, ids in world.tick().messages)

    world.store.on_call = slow
    world.do("copy")

    assert (world.move(1).state, world.move(2).state) == (MoveState.COPIED, MoveState.COPIED)
    assert not any(move.suspect for move in world.moves())
    assert world.store.unfinished_uploads() == []


def test_lost_lease_stops_a_large_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was stopped between two parts writes nothing more, and leaves no upload behind (H2)."""
    from app import copying  # noqa: PLC0415 - patched

    monkeypatch.setattr(copying, "PART_BYTES", 4)
    world = World(tmp_path, LIKE_MINIO, settings={"inline_bytes": 4})
    world.add(1, body=b"twenty bytes or more")
    world.seed()
    world.store.on_call = lambda name, _key: (world.later(31), world.tick()) if name == "copy_part" else None  # type: ignore[func-returns-value]
    world.do("copy")
    world.store.on_call = None

    assert N1 not in world.store.contents()
    world.go()
    assert world.get(1) == b"twenty bytes or more"
    assert world.store.unfinished_uploads() == []


def test_versioned_bucket_moves_the_newest_version(tmp_path: Path) -> None:
    """Only the current version moves; the delete leaves a marker, never an older version (H7)."""
    world = World(tmp_path, dataclasses.replace(LIKE_MINIO, versioning=True))
    world.add(1, body=b"v0")
    world.store.app_put(O1, b"v1")
    world.go()

    assert world.get(1) == b"v1"
    assert [version.body for version in world.store.versions(O1)] == [b"v0", b"v1", None]


@pytest.mark.parametrize("ignored", ["complete_if_absent", "put_if_absent", "copy_if_absent"])
def test_own_copy_is_written_over_on_the_operators_word_where_the_source_changed(tmp_path: Path, ignored: str) -> None:
    """What is at the new key is this very move's, and no stranger to be spared."""
    world = World(tmp_path, dataclasses.replace(CONDITIONAL, **{ignored: False}), settings={"copy_mode": "server"})
    world.add(1)
    world.moved(up_to="copy")
    world.later(3)
    world.store.app_put("up/1.png", b"second version")
    world.go()

    assert (world.states(), world.get(1)) == ({"deleted": 1}, b"second version")


def test_object_that_was_damaged_on_its_way_here_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store got what was sent, and says so: only the source's own hash tells that it is not the object (case 8)."""
    world = World(tmp_path, LIKE_MINIO)
    world.add(1, body=LOGO)
    damage_read(world, monkeypatch, O1)
    world.moved(up_to="copy")
    first = world.store.app_get(N1)
    world.go()

    assert first == damaged(LOGO)
    assert (world.states(), world.get(1)) == ({"deleted": 1}, LOGO)


def test_object_that_was_damaged_on_its_way_back_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's answer has the hash of what arrived."""
    world = World(tmp_path, LIKE_MINIO)
    world.add(1, body=LOGO)
    put = world.store.begin_put

    def wrongly(key: str, body: bytes, attributes: ObjectAttributes, **more: Any) -> Writing:  # noqa: ANN401 - as the store's
        monkeypatch.setattr(world.store, "begin_put", put)
        return put(key, damaged(body), attributes, **more)

    monkeypatch.setattr(world.store, "begin_put", wrongly)
    world.moved(up_to="copy")
    first = world.store.app_get(N1)
    world.go()

    assert first == damaged(LOGO)
    assert (world.states(), world.get(1)) == ({"deleted": 1}, LOGO)


@pytest.mark.parametrize(("multipart", "again"), [(False, 0), (True, 1)], ids=["same hash", "other hash"])
def test_copy_that_no_hash_proves_is_compared_with_its_source(tmp_path: Path, *, multipart: bool, again: int) -> None:
    """Of what went through a worker; what an upload in several parts has for an ETag is no hash of a whole copy."""
    world = World(tmp_path, LIKE_MINIO)
    world.add(1, body=LOGO)
    if multipart:
        upload = world.store.create_upload(O1, ObjectAttributes(), deadline=FixedDeadline())
        etags = [world.store.put_part(upload, O1, number, part, deadline=FixedDeadline()) for number, part in enumerate([b"lo", b"go"], 1)]
        world.store.complete_upload(upload, O1, etags, condition=None, deadline=FixedDeadline())
    world.seed()
    world.store.calls.clear()
    world.do("copy")

    assert world.states() == {"copied": 1}
    assert [name for name, key in world.store.calls if key == O1].count("read_range") == again
