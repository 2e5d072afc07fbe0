"""Objects arrive as they were, are parked, or the loss is on record (CASES 12, 13)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from app.errors import DeniedError
from app.fidelity_rules import Attribute
from app.ledger.losses import LossLedger
from app.ledger.reading import NOT_KEPT, ReportLedger
from app.ledger.reopening import Selection
from app.stages.aftercare import COPY_MISSED
from app.states import MoveState, ParkedReason
from app.testing import Behaviour, Fault
from app.testing.attributes import without
from app.testing.versions import ACLS, CONDITIONAL, LIKE_AWS, LIKE_MINIO
from tests.builders import World
from tests.model.mutants import Mutant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Made = Callable[..., World]

O1, N1 = "up/1.png", "clients/7/assets/1.png"
_A = Attribute
RICH = {
    "content-type": "image/png",
    "expires": "Thu, 01 Jan 2099 00:00:00 GMT",
    "x-amz-meta-by": "anna",
    "x-amz-storage-class": "STANDARD_IA",
    "x-amz-server-side-encryption": "AES256",
    "x-amz-website-redirect-location": "/there",
    "x-amz-acl": "public-read",
    "x-amz-checksum-crc32": "DUoRhQ==",
}


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A world with one asset that has all that its store takes."""

    def make(behaviour: Behaviour, *, headers: dict[str, str] | None = None, tags: str = "a=1", **settings: object) -> World:
        world = World(tmp_path, behaviour, settings=settings)
        world.add(1, body=None)
        taken = without(RICH, behaviour.lacks | behaviour.refuses)
        world.store.app_put(O1, b"v1", taken if headers is None else headers, tags=tags)
        return world

    return make


def _lost(world: World) -> dict[str, int]:
    return dict(LossLedger(world.engine).count(world.run).attributes)


@pytest.mark.parametrize("behaviour", [CONDITIONAL, LIKE_MINIO, LIKE_AWS], ids=["conditional", "like-minio", "like-aws"])
@pytest.mark.parametrize("inline_bytes", [100, 0], ids=["put", "parts"])
def test_all_that_the_store_takes_arrives_there_and_back(made: Made, behaviour: Behaviour, inline_bytes: int) -> None:
    """Through move and rollback, whichever way the bytes go; parts have no checksum of the whole, and that is told."""
    world = made(behaviour, inline_bytes=inline_bytes, grace_seconds=0)
    was = world.store.versions(O1)[-1]
    world.go()
    there = world.store.versions(N1)[-1]
    by_parts = inline_bytes == 0 and behaviour is LIKE_MINIO

    assert (there.body, there.headers, there.tags, there.acl) == (was.body, was.headers, was.tags, was.acl)
    assert (there.checksums, _lost(world)) == (({}, {"checksum": 1}) if by_parts else (was.checksums, {}))
    world.take_back(world.run.id)
    world.go()
    back = world.store.versions(O1)[-1]
    assert (back.body, back.headers, back.tags, back.acl, back.checksums) == (was.body, was.headers, was.tags, was.acl, there.checksums)
    assert sorted(world.store.contents()) == [O1]


@pytest.mark.parametrize(
    ("behaviour", "asked"),
    [
        (CONDITIONAL, []),
        (LIKE_MINIO, []),
        (LIKE_AWS, ["head", "acl"]),
        (replace(LIKE_AWS, refuses=LIKE_AWS.refuses | ACLS), ["head"]),  # a bucket with ACLs off
        (replace(CONDITIONAL, ordered_listing=False), []),
    ],
)
def test_plain_object_costs_no_request_where_nothing_can_be_lost(made: Made, behaviour: Behaviour, asked: list[str]) -> None:
    """What a GET shows comes with it; HEAD and ACL only where CopyObject drops what they tell."""
    world = made(behaviour, headers={"content-type": "image/png"}, tags="")
    world.moved(up_to="copy")

    assert [name for name, key in world.store.calls if key == O1 and name in {"head", "acl", "tags"}] == asked
    assert world.move(1).state is MoveState.COPIED


@pytest.mark.parametrize("ordered", [True, False])
def test_look_by_head_serves_the_copy_too(made: Made, ordered: bool) -> None:  # noqa: FBT001 - a switch of the store
    """SeaweedFS drops the encryption on CopyObject: one HEAD an object, which is the look."""
    behaviour = replace(CONDITIONAL, copy_drops=frozenset({_A.ENCRYPTION}), refuses=frozenset(), ordered_listing=ordered)
    world = made(behaviour, headers={"x-amz-server-side-encryption": "AES256"}, tags="a=1")
    world.moved(up_to="copy")

    assert [name for name, key in world.store.calls if key == O1] == ["head"]
    assert world.store.versions(N1)[-1].tags == "a=1"
    assert world.store.versions(N1)[-1].headers["x-amz-server-side-encryption"] == "AES256"


def test_object_goes_the_way_that_keeps_it(made: Made) -> None:
    """CopyObject would drop its metadata, so it goes by GET and PUT; its neighbour without any goes by CopyObject."""
    world = made(replace(CONDITIONAL, copy_ignores=frozenset({_A.METADATA})))
    world.add(2)
    world.moved(up_to="copy")

    assert [(name, key) for name, key in world.store.calls if name in {"put", "copy"}] == [("put", N1), ("copy", "clients/7/assets/2.png")]
    assert world.store.versions(N1)[-1].headers["x-amz-meta-by"] == "anna"
    assert _lost(world) == {}


def test_loss_that_readers_would_see_parks_the_object(made: Made) -> None:
    """Nothing is written, and the reason names the attribute."""
    world = made(replace(CONDITIONAL, denies=frozenset({_A.TAGS})))
    world.go()
    move = world.move(1)

    assert (move.state, move.reason, move.parked_from) == (MoveState.PARKED, ParkedReason.FIDELITY, MoveState.PLANNED)
    assert move.detail is not None
    assert "tags cannot be kept" in move.detail
    assert world.store.contents() == {O1: b"v1"}
    assert world.key(1) == O1
    assert _lost(world) == {}


@pytest.mark.parametrize("behaviour", [CONDITIONAL, LIKE_MINIO])
def test_loss_that_the_operator_takes_is_on_record(made: Made, behaviour: Behaviour) -> None:
    """The object moves without, the status counts it, the report names it."""
    world = made(replace(behaviour, denies=frozenset({_A.TAGS})), fidelity="tags=warn", grace_seconds=0)
    world.add(2)
    world.go()
    report = world.report()
    pages = ReportLedger(world.engine).pages(world.run, ("row_id", "state", NOT_KEPT))

    assert (world.move(1).state, world.store.versions(N1)[-1].tags) == (MoveState.DELETED, "")
    assert (report["not_kept"], report["not_kept_attributes"]) == (1, {"tags": 1})
    assert [tuple(row) for page in pages for row in page] == [("[1]", "deleted", "tags"), ("[2]", "deleted", None)]


def test_loss_is_on_record_though_its_worker_died(made: Made) -> None:
    """The copy was written, its reply lost: whoever finds it equal but for what was let go tells what it lacks."""
    world = made(replace(LIKE_MINIO, denies=frozenset({_A.STORAGE_CLASS})))
    world.store.faults.add(Fault.lose_reply(), on="put")
    world.go()

    assert world.move(1).state is MoveState.DELETED
    assert not world.move(1).copy_recorded
    assert _lost(world) == {"storage_class": 1}


def test_loss_of_a_former_copy_is_forgotten(made: Made) -> None:
    """The application took the tags away: what is at the new key lacks nothing any more."""
    world = made(replace(LIKE_MINIO, denies=frozenset({_A.STORAGE_CLASS})))
    world.moved(up_to="copy")
    assert _lost(world) == {"storage_class": 1}
    world.later(60)
    world.store.app_put(O1, b"v2", {"content-type": "image/png"})
    world.go(until=30)

    assert world.get(1) == b"v2"
    assert _lost(world) == {}


def test_loss_of_what_was_never_switched_does_not_count(made: Made) -> None:
    """A copy that was removed again lacks nothing."""
    world = made(replace(LIKE_MINIO, denies=frozenset({_A.STORAGE_CLASS})))
    world.moved(up_to="copy")
    world.sql("DELETE FROM assets WHERE id = 1")
    world.go()

    assert world.move(1).state is MoveState.SUPERSEDED
    assert world.report()["not_kept"] == 0


def test_late_write_that_would_lose_something_stays_beside_the_copy(made: Made) -> None:
    """Both versions are there, and the move says why."""
    world = made(replace(LIKE_MINIO, parts_ignore=frozenset({_A.METADATA})), headers={"content-type": "image/png"}, tags="")
    world.moved()
    world.later(40)
    world.store.app_put(O1, b"v2", {"content-type": "image/png", "x-amz-meta-by": "anna"})
    world.go(until=40)
    move = world.move(1)

    assert (move.state, move.parked_from, move.reason) == (MoveState.PARKED, MoveState.RENAMED, ParkedReason.FIDELITY)
    assert (world.store.app_get(O1), world.get(1)) == (b"v2", b"v1")


def test_copy_that_is_public_stays_public(made: Made) -> None:
    """The reader without credentials sees it at the new key too (case 12)."""
    world = made(LIKE_AWS, headers={"x-amz-acl": "public-read"}, tags="")
    world.add(2)
    world.moved(up_to="copy")

    assert [world.store.versions(f"clients/7/assets/{number}.png")[-1].acl for number in (1, 2)] == [{"x-amz-acl": "public-read"}, {}]


def test_adoption_takes_no_object_that_is_less_public(made: Made) -> None:
    """An old equal object at the new key that nobody but its owner may read is not what readers had."""
    world = made(LIKE_AWS, headers={"x-amz-acl": "public-read"}, tags="")
    world.store.app_put(N1, b"v1")
    world.later(3600)
    world.moved(up_to="copy")

    assert world.move(1).reason is ParkedReason.TARGET_EXISTS


CLASS = frozenset({_A.STORAGE_CLASS})
KEEPS_NO_CLASS = {
    "copy": replace(CONDITIONAL, copy_ignores=CLASS, denies=CLASS),
    "put": replace(LIKE_MINIO, denies=CLASS),
    "parts": replace(LIKE_MINIO, denies=CLASS),
}
COOL = {"content-type": "image/png", "x-amz-storage-class": "STANDARD_IA"}


@pytest.fixture(params=KEEPS_NO_CLASS)
def classless(request: pytest.FixtureRequest, made: Made) -> Made:
    """A world with an object of a class that its copy cannot have, on each way to the new key."""

    def make(rule: str, **settings: object) -> World:
        inline_bytes = 0 if request.param == "parts" else 100
        return made(KEEPS_NO_CLASS[request.param], headers=COOL, tags="", fidelity=rule, inline_bytes=inline_bytes, **settings)

    return make


def _is_parked(world: World, state: MoveState) -> bool:
    move = world.move(1)
    return (move.state, move.parked_from, move.reason) == (MoveState.PARKED, state, ParkedReason.FIDELITY)


@pytest.mark.parametrize("rule", ["storage_class=keep", "owners=keep", "all=fail"])
def test_rule_keep_holds_on_each_way(classless: Made, rule: str) -> None:
    """Nothing is written at the new key, not even for a moment."""
    world = classless(rule, grace_seconds=0)
    world.go()

    assert _is_parked(world, MoveState.PLANNED)
    assert [key for _, key in world.writes() if key == N1] == []
    assert (world.key(1), world.report()["not_kept"]) == (O1, 0)


@pytest.mark.parametrize("rule", ["", "owners=keep,storage_class=warn"])
def test_rule_warn_holds_on_each_way_there_and_back(classless: Made, rule: str) -> None:
    """Moved without, and on record; the way back has nothing left to lose."""
    world = classless(rule, grace_seconds=0)
    world.go()
    there = world.report()
    world.take_back(world.run.id)
    world.go()

    assert (there["deleted"], there["not_kept"], there["not_kept_attributes"]) == (1, 1, {"storage_class": 1})
    assert (world.key(1), world.get(1), world.report()["not_kept"]) == (O1, b"v1", 0)


@pytest.mark.parametrize(("rule", "kept"), [("", False), ("storage_class=keep", True)])
def test_rules_hold_for_a_rollback(made: Made, rule: str, kept: bool) -> None:  # noqa: FBT001 - an expectation
    """What the application has given a class since its move is parked where it is, or goes back without."""
    world = made(KEEPS_NO_CLASS["put"], headers={"content-type": "image/png"}, tags="", fidelity=rule, grace_seconds=0)
    world.go()
    world.store.app_put(N1, b"v2", COOL)
    world.take_back(world.run.id)
    world.later(60)
    world.go()

    assert _is_parked(world, MoveState.PLANNED) is kept
    assert (world.key(1), world.get(1)) == (N1 if kept else O1, b"v2")
    assert _lost(world) == ({} if kept else {"storage_class": 1})


@pytest.mark.parametrize(("rule", "kept"), [("", False), ("storage_class=keep", True)])
def test_rules_hold_for_a_late_write(made: Made, rule: str, kept: bool) -> None:  # noqa: FBT001 - an expectation
    """It stays beside the copy, or is copied again without."""
    world = made(KEEPS_NO_CLASS["put"], headers={"content-type": "image/png"}, tags="", fidelity=rule)
    world.moved()
    world.later(40)
    world.store.app_put(O1, b"v2", COOL)
    world.go(until=40)

    assert _is_parked(world, MoveState.RENAMED) is kept
    assert world.get(1) == (b"v1" if kept else b"v2")
    assert _lost(world) == ({} if kept else {"storage_class": 1})


@pytest.mark.parametrize(("rule", "reason", "lost"), [("", None, {"storage_class": 1}), ("storage_class=keep", "fidelity", {})])
def test_rules_hold_for_an_equal_object_at_the_new_key(made: Made, rule: str, reason: str | None, lost: dict[str, int]) -> None:
    """One that lacks what must be kept is not taken for the copy; one that lacks what is let go is adopted, and the loss is on record."""
    world = made(KEEPS_NO_CLASS["put"], headers=COOL, tags="", fidelity=rule)
    world.store.app_put(N1, b"v1", {"content-type": "image/png"})
    world.later(3600)
    world.moved(up_to="copy")

    assert world.move(1).reason == reason
    assert _lost(world) == lost


@pytest.mark.parametrize("inline_bytes", [100, 0], ids=["put", "parts"])
def test_tags_that_nobody_minds_are_not_asked_for(made: Made, inline_bytes: int) -> None:
    """Where the credentials may not look at them, the asset is moved without, also after a late write and by a rollback."""
    world = made(LIKE_MINIO, fidelity="tags=ignore", inline_bytes=inline_bytes)
    world.store.faults.add(Fault.refuse(DeniedError), on="tags", times=None)
    world.moved()
    world.store.app_put(O1, b"v2", tags="b=2")
    world.go()
    assert (world.states(), world.get(1)) == ({"deleted": 1}, b"v2")
    world.take_back(world.run.id)
    world.go()

    assert (world.key(1), world.get(1)) == (O1, b"v2")
    assert "tags" not in {name for name, _ in world.store.calls}


def test_copy_without_the_tags_that_nobody_minds_is_known_after_a_crash(made: Made) -> None:
    """Its worker died before it could record it: that source and copy differ in tags alone makes it no stranger's (H12)."""
    world = made(LIKE_MINIO, fidelity="tags=ignore")
    world.seed()
    world.crash_in("copy")
    world.store.app_put(N1, b"v1", world.store.versions(O1)[-1].headers)
    world.later(world.context.settings.lease_seconds + 1)
    world.go()

    assert world.states() == {"deleted": 1}


def test_bytes_are_put_back_without_a_look_at_tags_that_nobody_minds(made: Made) -> None:
    """A row came to name the old key while its object was deleted (H23)."""
    world = made(CONDITIONAL, fidelity="tags=ignore")
    world.moved()
    world.later(100)
    world.store.faults.add(Fault.refuse(DeniedError), on="tags", times=None)
    world.store.on_call = lambda name, _key: world.add(2, O1, body=None) if name == "delete" else None
    world.do("delete")

    assert world.get(2) == b"v1"


@pytest.mark.parametrize("way", KEEPS_NO_CLASS)
def test_object_that_lacks_nothing_is_adopted_though_our_copy_would_lack_something(made: Made, way: str) -> None:
    """Somebody with more rights has copied it: there is nothing to lose. A new one, or one that a row names, is a stranger's still."""
    inline_bytes = 0 if way == "parts" else 100
    world = made(KEEPS_NO_CLASS[way], headers=COOL, tags="", fidelity="storage_class=keep", inline_bytes=inline_bytes, settle_seconds=600)
    world.store.app_put(N1, b"v1", COOL)
    world.moved(up_to="copy")
    assert _is_parked(world, MoveState.PLANNED)

    world.later(3600)
    world.context.reopening.retry(world.run, Selection())
    world.do("copy", [1])
    assert world.move(1).state is MoveState.COPIED
    assert not world.move(1).copy_recorded
    assert _lost(world) == {}
    assert [key for _, key in world.writes() if key == N1] == []


@pytest.mark.parametrize("way", KEEPS_NO_CLASS)
def test_without_the_check_of_the_rules_the_loss_would_be_seen(made: Made, way: str) -> None:
    """The tests above stand on one line: what they say of parked objects does not hold without it."""
    mutant = Mutant(
        name="move whatever is lost",
        module="app.attributes",
        function="_load",
        before="parking = policy.parking(lost)",
        after="parking = []",
        caught_by=("", ""),
    )
    world = made(KEEPS_NO_CLASS[way], headers=COOL, tags="", fidelity="storage_class=keep", inline_bytes=0 if way == "parts" else 100)
    with mutant.installed():
        world.moved(up_to="copy")

    assert world.move(1).state is MoveState.COPIED
    assert "x-amz-storage-class" not in world.store.versions(N1)[-1].headers


@pytest.mark.parametrize("gone", [False, True], ids=["one 404", "gone"])
def test_copy_that_cannot_be_written_again_by_parts_is_looked_for_twice(made: Made, gone: bool) -> None:  # noqa: FBT001 - a parameter
    """The store copied it with its checksum, which parts have not: one false 404 parks nothing (case 16; chaos seed 455351)."""
    world = made(CONDITIONAL, inline_bytes=0, fidelity="checksum=keep")
    world.seed()
    world.do("copy")
    world.do("rename")
    world.later(2)
    if gone:
        world.store.app_delete(N1)
    else:
        world.store.faults.add(Fault.not_found(), on="stat", key=N1)
    world.do("delete")
    missed = world.move(1)
    world.go()

    assert (missed.state, missed.detail) == (MoveState.RENAMED, COPY_MISSED)
    assert world.move(1).state is (MoveState.PARKED if gone else MoveState.DELETED)
    assert world.move(1).reason is (ParkedReason.FIDELITY if gone else None)
    assert (world.move(1).detail is None) is not gone
    assert world.store.contents() == ({O1: b"v1"} if gone else {N1: b"v1"})
