"""Large objects in the stages: what is renewed in a long copy, and that no unfinished upload is left behind, nor another's touched."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from app import copying, large_copies
from app.database import transaction
from app.errors import DatabaseUnavailableError, DeniedError
from app.ledger.leases import LeaseLedger
from app.ledger.uploads import UploadLedger
from app.object_store import IfAbsent, ObjectAttributes
from app.schema import uploads
from app.stages import left_uploads
from app.states import MoveState, ParkedReason, RunState
from app.testing import Fault, FixedDeadline
from app.testing.versions import LIKE_MINIO
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path

O1, N1 = "up/1.png", "clients/7/assets/1.png"
LARGE = b"twenty bytes or more"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Objects above four bytes go by parts of four bytes."""
    monkeypatch.setattr(copying, "PART_BYTES", 4)
    monkeypatch.setattr("app.backoff.delay", lambda *_args, **_more: 0.0)
    return World(tmp_path, LIKE_MINIO, settings={"inline_bytes": 4})


def _new(number: int) -> str:
    return f"clients/7/assets/{number}.png"


def _on_record(world: World) -> int:
    with transaction(world.engine, read_only=True) as connection:
        return int(connection.execute(select(func.count()).select_from(uploads)).scalar_one())


def _die_in_the_middle(world: World, *, parts: int = 2) -> None:
    """A worker is killed after some parts: no request of its goes out any more, and it records nothing."""

    class KilledError(BaseException):
        pass

    left = iter(range(100))

    def kill(name: str, _key: str) -> None:
        if name == "copy_part" and next(left) == parts:
            raise KilledError

    world.store.on_call = kill
    with pytest.raises(KilledError):
        world.do("copy")
    world.store.on_call = None


def test_right_of_a_suspect_is_renewed_in_a_long_copy(world: World) -> None:
    """It runs alone in the whole run for as long as it takes: else a death would be blamed on the wrong asset (H28)."""
    world.add(1, body=LARGE)
    world.add(2)
    world.seed()
    world.crash_in("copy")
    world.later(31)
    world.tick()
    assert all(move.suspect for move in world.moves())
    others: list[bool] = []

    def slow(name: str, _key: str) -> None:
        if name == "copy_part":
            world.later(9)
            others.append(world.context.runs.take_suspects(world.run, token="another worker", seconds=30))

    world.store.on_call = slow
    world.do("copy", [1])

    assert others == [False] * 5
    assert world.move(1).state is MoveState.COPIED


def test_suspect_that_is_not_alone_any_more_stops(world: World) -> None:
    """Its worker was stopped for longer than its right lasts."""
    world.add(1, body=LARGE)
    world.seed()
    world.crash_in("copy")
    world.later(31)
    world.tick()

    def take_over(name: str, _key: str) -> None:
        if name == "copy_part":
            world.later(9)
            world.sql("UPDATE rekey_runs SET suspect_token = 'another worker'")

    world.store.on_call = take_over
    result = world.do("copy", [1])

    assert result.counts["LeaseLost"] == 1
    assert (world.states(), world.store.unfinished_uploads()) == ({"planned": 1}, [])


@pytest.mark.parametrize(("seconds", "state"), [(6, "copied"), (60, "planned")], ids=["a moment", "longer than the lease lasts"])
def test_outage_of_the_ledger_ends_a_long_copy_only_with_its_lease(
    world: World, monkeypatch: pytest.MonkeyPatch, seconds: float, state: str
) -> None:
    """What is copied is not thrown away for a restart of the database; and nothing is sent under a lease that is over."""
    world.add(1, body=LARGE)
    world.seed()
    honest, began = LeaseLedger.renew, world.clock.boot() + 18

    def renew(ledger: LeaseLedger, *given: object, **more: object) -> None:
        if world.clock.boot() < began + seconds:
            raise DatabaseUnavailableError("the server is restarting")
        honest(ledger, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(LeaseLedger, "renew", renew)
    world.store.on_call = lambda name, _key: world.later(6) if name == "copy_part" else None
    with suppress(DatabaseUnavailableError):
        world.do("copy")
    world.store.on_call = None

    assert (world.states(), world.store.unfinished_uploads()) == ({state: 1}, [])
    world.go()
    assert (world.states(), world.get(1)) == ({"deleted": 1}, LARGE)


def test_batch_mates_need_not_wait_for_a_long_copy(world: World) -> None:
    """After a few seconds the others go back, to whoever has time for them."""
    for number in (1, 2, 3):
        world.add(number, body=LARGE if number == 2 else b"tiny")
    world.seed()
    seen: list[dict[str, str | None]] = []

    def slow(name: str, _key: str) -> None:
        if name == "copy_part":
            world.later(9)
            seen.append({move.row_id: world.column(int(move.row_id[1:-1]), "lease_token") for move in world.moves()})

    world.store.on_call = slow
    world.do("copy")

    assert [world.move(number).state for number in (1, 2, 3)] == [MoveState.COPIED, MoveState.COPIED, MoveState.PLANNED]
    assert seen[0]["[3]"] is not None
    assert seen[1]["[3]"] is None
    assert all(tokens["[2]"] is not None for tokens in seen)


@pytest.mark.parametrize("parts", [0, 2])
def test_upload_of_a_killed_worker_is_aborted(world: World, parts: int) -> None:
    """Once its lease is over: found by the ledger's record, whatever becomes of the move."""
    world.add(1, body=LARGE)
    world.seed()
    _die_in_the_middle(world, parts=parts)
    world.tick()
    assert len(world.store.unfinished_uploads()) == 1
    world.later(31)
    found = world.tick()

    assert world.store.unfinished_uploads() == []
    assert "1 multipart uploads were left unfinished: aborted" in found.notes
    assert _on_record(world) == 0
    world.go()
    assert (world.states(), world.get(1)) == ({"deleted": 1}, LARGE)


def test_upload_of_a_killed_worker_is_aborted_before_its_run_ends(world: World) -> None:
    """The asset is taken down meanwhile, so that nobody comes to its new key again."""
    world.add(1, body=LARGE)
    world.seed()
    _die_in_the_middle(world)
    world.sql("DELETE FROM assets")
    world.store.faults.add(Fault.slow_down(), on="abort_upload", times=3)
    world.go()

    assert (world.states(), world.run.state) == ({"superseded": 1}, RunState.FINISHED)
    assert (world.store.unfinished_uploads(), _on_record(world)) == ([], 0)


def test_cancelled_run_leaves_no_upload(world: World) -> None:
    """Neither does one that is cancelled."""
    world.add(1, body=LARGE)
    world.seed()
    _die_in_the_middle(world)
    world.context.runs.set_state(world.run, RunState.CANCELLED, only_from=RunState.RUNNING)
    world.go()

    assert world.store.unfinished_uploads() == []
    assert not world.run.is_live


def test_upload_that_nobody_may_abort_holds_up_no_run(world: World) -> None:
    """It stays on record, and the log says so."""
    world.add(1, body=LARGE)
    world.seed()
    _die_in_the_middle(world)
    world.store.faults.add(Fault.refuse(DeniedError), on="abort_upload", times=None)
    world.later(31)
    notes = [note for _ in range(3) for note in world.tick().notes]
    world.go()

    assert sum("cannot be aborted: access denied" in note for note in notes) == 1
    assert world.run.state is RunState.FINISHED
    assert _on_record(world) == 1


@pytest.mark.parametrize("ending", [RunState.RUNNING, RunState.CANCELLED])
def test_uploads_that_nobody_may_abort_hold_up_no_run_however_many(world: World, ending: RunState, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is tried, whichever reconciler's turn it is, and the log names each; one that may be aborted is, behind however many others."""
    monkeypatch.setattr(left_uploads, "UPLOADS_A_TICK", 2)
    for number in range(1, 7):
        world.add(number, body=LARGE)
        world.store.app_put(_new(number), b"another's")
    world.seed()
    abort = world.store.abort_upload

    def abort_the_last(upload_id: str, key: str) -> None:
        if key != _new(6):
            raise DeniedError(key)
        abort(upload_id, key)

    monkeypatch.setattr(world.store, "abort_upload", abort_the_last)
    world.do("copy")
    if ending is RunState.CANCELLED:
        world.context.reopening.cancel(world.run)
    notes: set[str] = set()
    for _ in range(10):
        notes |= set(world.tick(worker=world.worker()).notes)  # one that was just started
        world.later(31)
    named = {number for number in range(1, 7) if f"an unfinished upload cannot be aborted: {DeniedError(_new(number))}" in notes}

    assert not world.run.is_live
    assert named == {1, 2, 3, 4, 5}
    assert (len(world.store.unfinished_uploads()), _on_record(world)) == (5, 5)


def test_uploads_of_others_are_never_touched(world: World) -> None:
    """Not even one that the application began at the very new key while our worker died there."""
    world.add(1, body=LARGE)
    world.seed()
    theirs = world.store.create_upload(N1, ObjectAttributes(), deadline=FixedDeadline())
    _die_in_the_middle(world)
    also_theirs = world.store.create_upload(N1, ObjectAttributes(), deadline=FixedDeadline())
    world.later(31)
    world.go()

    assert world.store.unfinished_uploads() == [theirs, also_theirs]
    assert world.get(1) == LARGE


def test_upload_that_could_not_be_put_on_record_is_aborted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger goes away just after the upload was made: no fault of the program, and nothing is left (chaos seed 843811)."""
    world.add(1, body=LARGE)
    world.seed()

    def away(*_given: object, **_more: object) -> str:
        raise DatabaseUnavailableError("the server is restarting")

    with monkeypatch.context() as patched:
        patched.setattr(UploadLedger, "begin", away)
        with suppress(DatabaseUnavailableError):
            world.do("copy")

    assert (world.states(), world.store.unfinished_uploads()) == ({"planned": 1}, [])
    world.go()
    assert (world.states(), world.get(1)) == ({"deleted": 1}, LARGE)


def test_upload_under_way_is_not_swept(world: World) -> None:
    """A slow copy whose lease is renewed keeps its upload, tick after tick."""
    world.add(1, body=LARGE)
    world.seed()

    def slow(name: str, _key: str) -> None:
        if name == "copy_part":
            world.later(9)
            world.tick()

    world.store.on_call = slow
    world.do("copy")

    assert world.move(1).state is MoveState.COPIED
    assert [name for name, _ in world.store.calls].count("abort_upload") == 0


@pytest.mark.parametrize("abort", [None, Fault.slow_down()], ids=["aborted by the worker", "left to the reconciler"])
def test_completion_whose_answer_got_lost_is_recognised(world: World, abort: Fault | None) -> None:
    """Its parts have no common hash with the source; the record says what they became (H12, case 18)."""
    world.add(1, body=LARGE)
    world.seed()
    world.store.faults.add(Fault.lose_reply(), on="complete_upload")
    if abort is not None:
        world.store.faults.add(abort, on="abort_upload", times=2)
    world.go()

    assert (world.states(), world.get(1)) == ({"deleted": 1}, LARGE)
    assert [name for name, _ in world.store.calls].count("complete_upload") == 1
    assert _on_record(world) == 0


def test_worker_killed_before_it_could_record_its_copy_is_recognised(world: World) -> None:
    """The completion was answered, and then the worker died: the upload stays on record until the outcome is."""

    class KilledError(BaseException):
        pass

    def kill(name: str, key: str) -> None:
        if (name, key) == ("stat", N1):
            raise KilledError

    world.add(1, body=LARGE)
    world.seed()
    world.store.on_call = kill
    with pytest.raises(KilledError):
        world.do("copy")
    world.store.on_call = None
    world.later(31)
    world.go()

    assert (world.states(), world.get(1)) == ({"deleted": 1}, LARGE)
    assert [name for name, _ in world.store.calls].count("copy_part") == 5
    assert _on_record(world) == 0


def test_source_overwritten_after_an_unanswered_completion_is_not_taken_for_copied(world: World) -> None:
    """The record names the version that was copied; the newer one is another."""
    world.add(1, body=LARGE)
    world.seed()
    world.store.faults.add(Fault.lose_reply(), on="complete_upload")
    world.do("copy")
    world.store.app_put(O1, b"newer, and just as long")
    world.go()

    assert world.move(1).reason is ParkedReason.TARGET_EXISTS
    assert world.get(1) == b"newer, and just as long"


def test_stopped_worker_leaves_no_upload_on_record(world: World) -> None:
    """It aborts what it began."""
    world.add(1, body=LARGE)
    world.seed()
    stopped: list[bool] = []
    world.store.on_call = lambda name, _key: stopped.append(True) if name == "copy_part" else None
    world.do("copy", worker=world.worker(stopping=lambda: bool(stopped)))

    assert (world.store.unfinished_uploads(), _on_record(world)) == ([], 0)


def test_late_write_leaves_no_upload_either(world: World) -> None:
    """The copy after the switch goes by parts whatever the size (M5)."""
    world.add(1, body=b"v1")
    world.moved()
    world.store.app_put(O1, b"v2")
    world.later(40)
    world.go()

    assert world.get(1) == b"v2"
    assert (world.store.unfinished_uploads(), _on_record(world)) == ([], 0)


def test_case_11_source_overwritten_while_its_parts_are_copied(world: World) -> None:
    """The bytes that arrive are exactly one version, the newest; multipart ETags prove nothing wrong; headers and tags are equal."""
    headers = {"content-type": "image/png", "cache-control": "max-age=60", "content-language": "de", "x-amz-meta-by": "anna"}
    world.add(1, body=None)
    world.store.app_put(O1, b"first version of this", headers, tags="a=1&b=2")
    world.seed()
    parts = iter(range(100))

    def overwrite(name: str, _key: str) -> None:
        if name == "copy_part" and next(parts) == 1:
            world.store.app_put(O1, b"NEWEST VERSION OF IT!", headers, tags="a=1&b=2")

    world.store.on_call = overwrite
    world.go()
    there = world.store.versions(N1)[-1]

    assert world.states() == {"deleted": 1}
    assert (there.body, there.headers, there.tags) == (b"NEWEST VERSION OF IT!", headers, "a=1&b=2")
    assert there.etag.endswith("-6")
    assert world.store.unfinished_uploads() == []


@pytest.mark.parametrize("parts", [1, 2])
def test_case_11_multipart_source_keeps_its_etag(world: World, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploaded in one part or in two, it arrives in as many."""
    monkeypatch.setattr(large_copies, "MIN_PART_BYTES", 1)
    world.add(1, body=None)
    upload = world.store.create_upload(O1, ObjectAttributes(), deadline=FixedDeadline())
    size = len(LARGE) // parts
    etags = [
        world.store.put_part(upload, O1, number + 1, LARGE[number * size : (number + 1) * size], deadline=FixedDeadline())
        for number in range(parts)
    ]
    etag = world.store.complete_upload(upload, O1, etags, condition=IfAbsent(), deadline=FixedDeadline())
    world.go()

    assert world.states() == {"deleted": 1}
    assert (world.store.stat(N1).etag, world.get(1)) == (etag, LARGE)
    assert etag.endswith(f"-{parts}")
    assert world.writes()[-1][0] == "delete"


def test_versioned_source_is_copied_at_the_version_that_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overwritten in the middle, it is copied to the end, and then once more: what arrives last is the newest."""
    monkeypatch.setattr(copying, "PART_BYTES", 4)
    world = World(tmp_path, dataclasses.replace(LIKE_MINIO, versioning=True), settings={"inline_bytes": 4})
    world.add(1, body=LARGE)
    world.seed()
    parts = iter(range(100))

    def overwrite(name: str, _key: str) -> None:
        if name == "copy_part" and next(parts) == 1:
            world.store.app_put(O1, LARGE.upper())

    world.store.on_call = overwrite
    world.go()

    assert (world.states(), world.get(1)) == ({"deleted": 1}, LARGE.upper())
    assert [version.body for version in world.store.versions(N1)] == [LARGE, LARGE.upper()]
    assert world.store.unfinished_uploads() == []
