"""Small objects that go several in one request where the operator vouches (REKEY_COPY=server): as safely as each alone."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from app.copying import SMALL_BYTES, SNOWBALL_OBJECTS
from app.errors import BadKeyError, DeniedError, MissingObjectError, StoreRequestError, UnansweredError
from app.looks import MAX_AGE_SECONDS
from app.spacing import spaced
from app.stages.small_share import HOPED, SmallShare
from app.stages.snowballs import MOST_BYTES, NAME, RESTS_SECONDS
from app.states import MoveState, ParkedReason, RunState
from app.testing import Behaviour, Fault
from app.testing.versions import CONDITIONAL, LIKE_MINIO
from tests.builders import World, damage_read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from app.errors import ObjectError
    from app.object_store import ObjectInfo, Packed, ReadObject

EXPIRES = {"expires": "Thu, 01 Dec 2044 16:00:00 GMT", "content-type": "image/png", "x-amz-meta-by": "us"}


def _new(number: int) -> str:
    return f"clients/7/assets/{number}.png"


def _old(number: int) -> str:
    return f"up/{number}.png"


def _make(folder: Path, behaviour: Behaviour = LIKE_MINIO, *, share: float = 1.0, **settings: object) -> World:
    """A world whose workers have seen small objects."""
    world = World(folder, behaviour, settings={"copy_mode": "server", "copy_concurrency": 20, **settings})
    world.context = dataclasses.replace(world.context, small=SmallShare(share, is_tried=True))
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One whose small objects go by snowballs."""
    return _make(tmp_path)


def _seed(world: World, rows: int, **objects: Any) -> None:  # noqa: ANN401 - as the store takes them
    for number in range(1, rows + 1):
        world.add(number, body=None)
        world.store.app_put(_old(number), f"v{number}".encode(), **objects)
    world.seed()
    world.store.calls.clear()


def _requests(world: World, *names: str) -> list[str]:
    return [name for name, _ in world.store.calls if name in names]


def _balls(world: World, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The keys of each snowball that is sent."""
    sent: list[list[str]] = []
    put = world.store.put_snowball

    def noted(name: str, objects: Sequence[Packed], **more: Any) -> Sequence[ObjectInfo]:  # noqa: ANN401 - the deadline
        assert name == NAME
        sent.append([one.key for one in objects])
        return put(name, objects, **more)

    monkeypatch.setattr(world.store, "put_snowball", noted)
    return sent


def test_small_objects_go_together_and_keep_all_that_they_have(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Expires` too, which this store's CopyObject drops; no request is sent for one object but its GET."""
    sent = _balls(world, monkeypatch)
    _seed(world, 120, headers=EXPIRES)
    world.do("copy")

    assert world.states() == {"copied": 120}
    assert [len(keys) for keys in sent] == [SNOWBALL_OBJECTS, SNOWBALL_OBJECTS, 20]
    assert _requests(world, "copy", "put", "head") == []
    assert not {("stat", _old(number)) for number in range(1, 121)}.intersection(world.store.calls)
    assert len(_requests(world, "read")) == 120
    assert dict(world.store.head(_new(7)).attributes.headers) == EXPIRES
    assert world.store.app_get(_new(7)) == b"v7"


def test_run_by_snowballs_ends_like_any_other(world: World) -> None:
    """The copies are taken for ours by every later look, up to the deletes."""
    for number in range(1, 31):
        world.add(number)
    world.go()

    assert world.run.state is RunState.FINISHED
    assert world.states() == {"deleted": 30}
    assert world.store.contents().keys() == {_new(number) for number in range(1, 31)}
    assert "put_snowball" in {name for name, _ in world.store.calls}


def test_objects_are_taken_for_small_until_one_is_seen_that_is_not(tmp_path: Path) -> None:
    """Then only those that were asked for together are read for nothing: a body that nobody takes costs a connection."""
    world = _make(tmp_path, share=HOPED)
    _seed(world, 200)
    for number in range(1, 201):
        world.store.app_put(_old(number), bytes(SMALL_BYTES + 1))
    world.do("copy")

    assert world.states() == {"copied": 200}
    assert 0 < len({key for name, key in world.store.calls if name == "read"}) <= 2 * SNOWBALL_OBJECTS
    assert _requests(world, "put_snowball") == []


def test_objects_that_are_seen_to_be_small_go_together_again(tmp_path: Path) -> None:
    """By the looks that come before plain CopyObject."""
    world = _make(tmp_path, share=0.0)
    _seed(world, 120)
    ids = [move.id for move in world.moves()]
    world.do("copy", ids[:50])
    before = _requests(world, "put_snowball")
    world.do("copy", ids[50:])

    assert before == []
    assert _requests(world, "put_snowball") == ["put_snowball", "put_snowball"]
    assert world.states() == {"copied": 120}


def test_large_one_among_them_goes_alone_without_another_look(world: World) -> None:
    """Its GET has told what a HEAD tells."""
    _seed(world, 10)
    world.store.app_put(_old(3), bytes(SMALL_BYTES + 1), EXPIRES)
    world.do("copy")

    assert world.states() == {"copied": 10}
    assert world.writes()[0] == ("put", _new(3))  # Expires would be lost by CopyObject
    assert _requests(world, "head", "copy") == []
    assert {("stat", _new(3)), ("stat", _old(3))}.isdisjoint(world.store.calls)
    assert dict(world.store.head(_new(3)).attributes.headers) == EXPIRES


@pytest.mark.parametrize(
    ("headers", "tags", "way"),
    [
        ({}, "a=b", "copy"),
        ({"x-amz-checksum-crc32": "AAAAAA=="}, "", "copy"),
        ({"x-amz-storage-class": "REDUCED_REDUNDANCY"}, "", "copy"),
        ({"content-disposition": "gr\u00fcn"}, "", "copy"),
    ],
    ids=["tags", "checksum", "class", "not-ascii"],
)
def test_object_with_more_than_a_snowball_carries_goes_alone(world: World, headers: dict[str, str], tags: str, way: str) -> None:
    """The others need not."""
    _seed(world, 5)
    world.store.app_put(_old(3), b"v3", headers, tags=tags)
    world.do("copy")

    assert world.states() == {"copied": 5}
    assert _requests(world, "put_snowball", "copy", "put") == [way, "put_snowball"]
    assert world.store.head(_new(3)).attributes == world.store.head(_old(3)).attributes


def test_body_counts_against_the_bound_of_a_snowball(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longer it takes to send, the later its end comes."""
    sent = _balls(world, monkeypatch)
    _seed(world, 40)
    for number in range(1, 41):
        world.store.app_put(_old(number), bytes(SMALL_BYTES))
    world.do("copy")

    assert max(len(keys) for keys in sent) == MOST_BYTES // SMALL_BYTES
    assert sum(len(keys) for keys in sent) == 40
    assert world.states() == {"copied": 40}


def test_object_that_is_there_already_is_not_overwritten(world: World) -> None:
    """The look comes first, as before plain CopyObject; the others go."""
    _seed(world, 5)
    world.store.app_put(_new(3), b"theirs")
    world.do("copy")

    assert world.move(3).reason is ParkedReason.TARGET_EXISTS
    assert world.store.app_get(_new(3)) == b"theirs"
    assert world.states() == {"copied": 4, "parked": 1}


def test_object_that_comes_when_the_look_has_grown_old_is_not_overwritten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for others in a snowball is looked at again before it is sent so late."""
    _seed(world, 5)
    read = world.store.read

    def slow(key: str, **more: Any) -> ReadObject:  # noqa: ANN401 - bounds
        found = read(key, **more)
        if key == _old(5):
            world.clock.advance(MAX_AGE_SECONDS + 0.1)
            world.store.app_put(_new(2), b"theirs")
        return found

    monkeypatch.setattr(world.store, "read", slow)
    world.do("copy")

    assert world.store.app_get(_new(2)) == b"theirs"
    assert world.move(2).state is MoveState.PARKED


@pytest.mark.parametrize("headers", [{}, EXPIRES], ids=["by-copyobject", "by-put"])
@pytest.mark.parametrize("error", [BadKeyError, DeniedError, StoreRequestError])
def test_fault_of_one_object_keeps_none_of_the_others(world: World, error: type[ObjectError], headers: dict[str, str]) -> None:
    """The answer does not say whose it is: each goes alone at its next claim, and what the snowball has left of it is known again."""
    _seed(world, 6, headers=headers)
    for request in ("put_packed", "copy", "put"):
        world.store.faults.add(Fault.refuse(error), on=request, key=_new(4), times=None)
    world.do("copy")
    before = world.states()
    world.go()

    assert before == {"planned": 6}
    assert world.states() == {"deleted": 5, "parked": 1}
    assert world.move(4).state is MoveState.PARKED
    assert [world.get(number) for number in range(1, 7)] == [b"v1", b"v2", b"v3", b"v4", b"v5", b"v6"]
    assert len(_requests(world, "put_snowball")) == 1


@pytest.mark.parametrize("arrives", [True, False])
def test_snowball_without_an_answer_is_settled_when_its_lease_is_over(world: World, arrives: bool) -> None:  # noqa: FBT001 - both
    """Nobody acts on its moves before; then each goes alone, and what has arrived is known again."""
    _seed(world, 5)
    world.store.faults.add(Fault.lose_reply() if arrives else Fault.delay(), on="put_snowball", key=_new(1))
    world.do("copy")
    before = world.states()
    world.do("copy")
    world.go()

    assert (before, world.states()) == ({"planned": 5}, {"deleted": 5})
    assert [world.get(number) for number in range(1, 6)] == [b"v1", b"v2", b"v3", b"v4", b"v5"]
    assert len(_requests(world, "put_snowball")) == 1
    assert not [request.deliver() for request in world.store.delayed if request.deliver() is None]


def test_nobody_acts_while_the_store_may_still_wait_for_the_rest_of_a_snowball(world: World) -> None:
    """Longer than a lease: the date of a request is checked with its head, and a rest that comes late is carried out."""
    _seed(world, 3)
    world.store.faults.add(Fault.delay(), on="put_snowball")
    world.do("copy")
    world.store.calls.clear()
    world.later(40)
    world.tick()
    early = world.do("copy")
    written = world.writes()
    world.later(6)
    world.tick()
    world.do("copy")

    assert world.context.settings.lease_seconds < RESTS_SECONDS - 5
    assert (early.taken, written) == (0, [])
    assert world.states() == {"copied": 3}


def test_part_of_a_snowball_that_arrived_before_its_end_was_cut_off_is_known_again(world: World) -> None:
    """The store writes the members one by one."""
    _seed(world, 5)
    world.store.faults.add(Fault.lose_reply(), on="put_packed", key=_new(3))
    world.do("copy")
    there = sorted(world.store.contents())
    world.go()

    assert [_new(number) in there for number in range(1, 6)] == [True, True, True, False, False]
    assert world.states() == {"deleted": 5}
    assert [world.get(number) for number in range(1, 6)] == [b"v1", b"v2", b"v3", b"v4", b"v5"]


def test_store_that_is_busy_counts_nothing_against_the_objects(world: World) -> None:
    """503 to the whole, before it has begun or in its midst: nobody acts on its moves before the lease is over; then each goes alone."""
    _seed(world, 5)
    world.store.faults.add(Fault.slow_down(), on="put_packed", key=_new(3))
    result = world.do("copy")
    before = world.states(), {move.attempts for move in world.moves()}
    world.go()

    assert isinstance(result.outage, UnansweredError)
    assert before == ({"planned": 5}, {0})
    assert world.states() == {"deleted": 5}


def test_first_snowball_of_a_run_has_one_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several that MinIO refuses within one request can end it: whether they may be written at all is seen of one."""
    world = _make(tmp_path)
    world.context = dataclasses.replace(world.context, small=SmallShare())
    sent = _balls(world, monkeypatch)
    _seed(world, 120)
    world.do("copy")

    assert [len(keys) for keys in sent][:2] == [1, SNOWBALL_OBJECTS]
    assert sum(len(keys) for keys in sent) == 120
    assert world.states() == {"copied": 120}


def test_run_whose_snowball_was_refused_sends_no_more_of_them(world: World) -> None:
    """What it was refused for is likely to be there in the next one."""
    _seed(world, 10)
    ids = [move.id for move in world.moves()]
    world.store.faults.add(Fault.refuse(DeniedError), on="put_packed", key=_new(1))
    world.do("copy", ids[:3])
    world.do("copy", ids[3:])

    assert world.states() == {"planned": 3, "copied": 7}
    assert len(_requests(world, "put_snowball")) == 1


def test_object_that_was_damaged_while_it_was_read_is_written_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent is what arrived, so that its ETag proves nothing: it is another than the source's."""
    _seed(world, 5)
    damage_read(world, monkeypatch, _old(3))
    world.do("copy")
    written = world.store.app_get(_new(3))
    world.go()

    assert written != b"v3"
    assert world.states() == {"deleted": 5}
    assert [world.get(number) for number in range(1, 6)] == [b"v1", b"v2", b"v3", b"v4", b"v5"]


def test_error_of_no_known_kind_leaves_none_of_the_others_to_plain_copies(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request may have been sent: what stands at a new key now could be its object, and the look at it is older than that."""
    _seed(world, 5)

    def out_of_memory(name: str, objects: Sequence[Packed], **more: Any) -> Sequence[ObjectInfo]:  # noqa: ANN401 - the deadline
        del name, objects, more
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(world.store, "put_snowball", out_of_memory)
        with pytest.raises(MemoryError):
            world.do("copy")
    world.do("copy")
    copied = _requests(world, "copy", "put")
    world.go()

    assert copied == []
    assert world.states() == {"deleted": 5}


def test_object_that_is_missing_or_changes_while_it_is_read_keeps_none_of_the_others(world: World) -> None:
    """Each has its own outcome."""
    _seed(world, 5)
    world.store.app_delete(_old(2))
    world.store.faults.add(Fault.refuse(MissingObjectError), on="read", key=_old(4))
    world.do("copy")

    assert {number: world.move(number).state for number in (1, 3, 5)} == dict.fromkeys((1, 3, 5), MoveState.COPIED)
    assert world.move(2).state is MoveState.PLANNED


def test_source_that_changes_after_it_was_packed_is_copied_again(world: World) -> None:
    """Before the row is switched; the new copy goes over the old one under a condition."""
    for number in range(1, 4):
        world.add(number)
    world.seed()
    world.do("copy")
    world.store.app_put(_old(2), b"newer")
    world.go()

    assert world.get(2) == b"newer"
    assert ("put", _new(2)) in world.writes()


def test_second_claim_goes_alone(world: World) -> None:
    """Whatever a snowball has met or left behind."""
    _seed(world, 3)
    world.crash_in("copy")
    world.later(world.context.settings.lease_seconds + 1)
    world.tick()
    world.go()

    assert world.states() == {"deleted": 3}
    assert _requests(world, "put_snowball") == []


def test_key_that_a_tar_file_cannot_name_goes_alone(tmp_path: Path) -> None:
    """MinIO would clean the path, and the object would get another key."""
    world = _make(tmp_path, template="clients/{client_id}/assets/{file_name}")
    world.add(1, key="up/a\\b.png")
    world.add(2)
    world.seed()
    world.do("copy")

    assert world.states() == {"copied": 2}
    assert _requests(world, "copy", "put_snowball") == ["copy", "put_snowball"]


@pytest.mark.parametrize(
    ("behaviour", "settings"),
    [
        (LIKE_MINIO, {"copy_mode": "auto"}),
        (LIKE_MINIO, {"copy_mode": "worker"}),
        (dataclasses.replace(LIKE_MINIO, takes_snowballs=False), {}),
        (dataclasses.replace(CONDITIONAL, takes_snowballs=True), {}),
        (LIKE_MINIO, {"inline_bytes": 1}),
    ],
    ids=["auto", "worker", "store-that-does-not", "conditional", "nothing-by-the-worker"],
)
def test_none_is_sent_where_it_is_not_wished_safe_or_understood(tmp_path: Path, behaviour: Behaviour, settings: dict[str, Any]) -> None:
    """A store that does not take tar files apart would keep them."""
    world = _make(tmp_path, behaviour, **settings)
    _seed(world, 5)
    world.do("copy")

    assert world.states() == {"copied": 5}
    assert _requests(world, "put_snowball") == []


def test_requests_that_are_to_be_spread_evenly_are(world: World) -> None:
    """A stage that was slowed down sends no fifty at once."""
    _seed(world, 5)
    with spaced(0.1):
        world.do("copy")

    assert world.states() == {"copied": 5}


def test_rollback_goes_without(world: World) -> None:
    """What goes back may go over nothing, whoever vouches."""
    for number in range(1, 4):
        world.add(number)
    world.go()
    world.store.calls.clear()
    world.take_back(world.run_id)
    world.context = dataclasses.replace(world.context, settings=world.context.settings.model_copy(update={"copy_mode": "server"}))
    world.go()

    assert [world.key(number) for number in range(1, 4)] == [_old(number) for number in range(1, 4)]
    assert _requests(world, "put_snowball") == []
