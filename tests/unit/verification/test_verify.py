"""The independent recount: rows, objects and the ledger of a run against each other (S8)."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.cli.verify_setup import usual_place
from app.errors import DeniedError, StoreUnavailableError, UsageError
from app.states import RunState
from app.testing import Fault, InMemoryStore
from app.two_buckets import TwoBuckets
from app.verification import reading
from app.verification.findings import Kind
from app.verification.verify import verify
from tests.builders import World
from tests.verifying import Silent, subject_of, verified, workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.testing import Behaviour

O1, N1 = "up/1.png", "clients/7/assets/1.png"


def fill(world: World, count: int) -> None:
    """Add assets."""
    for number in range(1, count + 1):
        world.add(number)


def test_moved_table_has_no_faults(world: World) -> None:
    """Every row names its object, every object has its row, every outcome agrees; the journal is no stray."""
    fill(world, 5)
    world.go()

    found = verified(world, world.run)

    assert found.kinds() == {}
    assert found.report["recount"] == {"deleted": {"ledger": 5, "agree": 5}}
    assert (found.report["rows"], found.report["objects"], found.report["schemes"]["new"]) == (5, 5, 5)
    assert found.report["reserved"] >= 1


def test_table_before_its_run_has_no_faults(world: World) -> None:
    """Keys of the old scheme are no fault as long as the objects are there."""
    fill(world, 3)

    found = verified(world)

    assert found.kinds() == {}
    assert found.report["schemes"]["old"] == 3


def test_row_without_its_object_is_missing(world: World) -> None:
    """Also under a key that no store holds; a row that names nothing is counted and no fault."""
    fill(world, 2)
    world.store.app_delete(O1)
    world.add(3, "x" * 1100, body=None)
    world.sql("INSERT INTO assets (id, client_id, object_key) VALUES (4, 7, NULL), (5, 7, '')")

    found = verified(world)

    assert found.kinds() == {"missing": 2}
    assert found.of(Kind.MISSING) == ["[1]", "[3]"]
    assert found.report["schemes"]["no_key"] == 2


def test_key_that_no_object_can_have_is_listed_as_it_is(world: World) -> None:
    """It can be looked up in the table by that."""
    key = "x/" + "n" * 1100
    world.add(1, key, body=None)

    (found,) = verified(world).report["examples"]["missing"]

    assert (found["row_id"], found["key"]) == ("[1]", key)


def test_row_whose_object_comes_within_the_settling_time_is_not_missing(world: World) -> None:
    """A row may be written up to SETTLE_SECONDS before its object (A3): verify waits for that once."""
    world.add(1, body=None)

    def settle(seconds: float) -> None:
        world.later(seconds)
        world.store.app_put(O1, b"late")

    assert verified(world, sleep=settle).kinds() == {}


def test_object_without_a_row_is_a_stray_of_its_scheme(world: World) -> None:
    """Listed, with the scheme of its key; one that is too young to have its row is noted, one that REFERENCES names is neither."""
    fill(world, 1)
    world.store.app_put("up/stray.png", b"x")
    world.store.app_put("clients/9/assets/stray.png", b"x")
    world.later(31)
    world.store.app_put("up/young.png", b"x")

    found = verified(world)

    assert found.of(Kind.STRAY_OLD) == ["up/stray.png"]
    assert found.of(Kind.STRAY_NEW) == ["clients/9/assets/stray.png"]
    assert found.of(Kind.YOUNG) == ["up/young.png"]
    assert len(world.store.contents()) == 4


def test_object_that_a_reference_names_is_no_stray(tmp_path: Path, behaviour: Behaviour) -> None:
    """The columns in REFERENCES are asked, whatever spelling the store folds."""
    table = "CREATE TABLE assets (id INTEGER PRIMARY KEY, client_id INTEGER, object_key TEXT); CREATE TABLE thumbs (object_key TEXT)"
    world = World(tmp_path, behaviour, table=table, settings={"references": ["thumbs.object_key"]})
    world.add(1)
    world.store.app_put("thumbs/1.png", b"x")
    spelling = "/thumbs/1.png" if behaviour.folds_leading_slash else "thumbs/1.png"
    world.sql("INSERT INTO thumbs VALUES (:key)", key=spelling)
    world.later(31)

    assert verified(world).kinds() == {}


def test_row_in_another_clients_folder_is_a_fault(world: World) -> None:
    """Its key has the template's form, and not for its client."""
    world.add(1, "clients/8/assets/1.png", client=7)

    assert verified(world).of(Kind.OTHER_CLIENT) == ["[1]"]


def test_rows_and_objects_of_other_spellings_are_matched_as_the_store_does(world: World, behaviour: Behaviour) -> None:
    """A leading slash is the same object on one kind of store, another one on the other (H6)."""
    world.add(1, "/up/1.png", body=None)
    world.store.app_put("up/1.png", b"x")
    world.later(31)

    found = verified(world)

    assert found.kinds() == ({} if behaviour.folds_leading_slash else {"missing": 1, "stray_old": 1})


def _overwrite(world: World, body: bytes, *, at: float) -> None:
    """Put another object at the new key of row 1, with a time of *at* seconds from now, as a store that went wrong would have it."""
    world.store.skew += at
    world.store.app_put(N1, body)
    world.store.skew -= at


@pytest.mark.parametrize(
    ("body", "at", "kind"), [(b"v2", -60, Kind.DIFFERS), (b"longer", -60, Kind.WRONG_SIZE), (b"newer", 60, Kind.CHANGED_SINCE)]
)
def test_object_is_compared_with_the_copy_on_record(world: World, body: bytes, at: float, kind: Kind) -> None:
    """Other bytes or another size are faults, unless the service has written since."""
    fill(world, 2)
    world.go()
    world.later(100)
    _overwrite(world, body, at=at - 100 if at < 0 else at)

    found = verified(world, world.run)

    assert found.kinds() == {str(kind): 1}
    assert found.of(kind) == ["[1]"]


def test_old_object_that_came_back_is_not_deleted(world: World) -> None:
    """The very version that the ledger says was deleted; another one under its key is a stray, or some row's."""
    fill(world, 3)
    source = world.store.stat(O1)
    now = world.store.skew
    world.go()
    world.store.skew = source.last_modified - world.store.store_time() + now
    world.store.app_put(O1, b"v1")
    world.store.skew = now
    world.store.app_put("up/2.png", b"re-used")
    world.add(4, "up/2.png", body=None)
    world.later(100)

    found = verified(world, world.run)

    assert found.of(Kind.NOT_DELETED) == ["[1]"]
    assert found.of(Kind.STRAY_OLD) == [O1]
    assert found.of(Kind.UNEXAMINED) == ["[4]"]


def test_row_that_was_set_back_disagrees_with_its_outcome(world: World) -> None:
    """Deleted, and the row names its old key: a wrong row, whose object is missing too. Another key, or no row, is the service's doing."""
    fill(world, 4)
    world.go()
    world.save_key(1, O1)
    world.save_key(2, "up/new.png")
    world.store.app_put("up/new.png", b"x")
    world.sql("DELETE FROM assets WHERE id = 3")
    world.later(100)

    found = verified(world, world.run)

    assert found.of(Kind.WRONG_ROW) == ["[1]"]
    assert found.of(Kind.MISSING) == ["[1]"]
    assert found.of(Kind.RE_POINTED) == ["[2]"]
    assert found.of(Kind.ROW_GONE) == ["[3]"]
    assert found.report["recount"]["deleted"] == {"ledger": 4, "agree": 3}
    assert found.of(Kind.LEFT_OVER) == [f"clients/7/assets/{number}.png" for number in (1, 2, 3)]


def test_move_of_a_live_run_is_no_fault(tmp_path: Path, behaviour: Behaviour) -> None:
    """Planned, copied and switched ones, with both objects there: counted apart. After the run's end the same is a fault."""
    world = World(tmp_path, behaviour, settings={"grace_seconds": 600})
    fill(world, 3)
    world.seed()
    world.do("copy", [1, 2])
    world.do("rename", [1])
    world.later(100)

    live = verified(world, world.run)
    without = verified(world)
    world.context.runs.set_state(world.run, RunState.FINISHED, only_from=RunState.RUNNING)
    over = verified(world, world.run)

    assert live.report["faults"] == {}
    assert live.report["notes"] == {"in_transit": 5}  # three moves, an old object and a copy
    assert without.kinds() == {"in_transit": 2}
    assert over.of(Kind.UNFINISHED) == ["[1]", "[2]", "[3]"]


def test_parked_and_kept_objects_are_left_over(tmp_path: Path, behaviour: Behaviour) -> None:
    """The ledger lists them, so they are no strays."""
    world = World(tmp_path, behaviour, settings={"grace_seconds": 60})
    fill(world, 2)
    world.moved()
    world.store.app_put(N1, b"theirs")
    world.later(10)
    world.store.app_put(O1, b"ours")
    world.later(100)
    world.go()

    found = verified(world, world.run)

    assert world.parked() == {"conflict": 1}
    assert found.report["faults"] == {}
    assert found.of(Kind.LEFT_OVER) == [O1]


def test_headers_are_compared_with_the_source_while_that_exists(tmp_path: Path, behaviour: Behaviour) -> None:
    """A copy that lost its metadata or tags is a fault; so is an object without a content type. Without --headers neither is seen."""
    world = World(tmp_path, behaviour, settings={"grace_seconds": 600})
    fill(world, 3)
    world.store.app_put(O1, b"v1", {"x-amz-meta-owner": "me"})
    world.moved()
    etag = world.store.stat(N1).etag
    world.store.app_set_headers(N1, {"content-type": "image/png"})
    world.set_columns(1, copy_store_time=world.store.stat(N1).last_modified)
    world.store.app_set_headers("clients/7/assets/2.png", {"content-type": ""})
    world.set_columns(2, copy_store_time=world.store.stat(N1).last_modified)

    plain = verified(world, world.run)
    found = verified(world, world.run, headers=True)

    assert world.store.stat(N1).etag == etag
    assert plain.report["faults"] == {}
    assert found.of(Kind.WRONG_HEADERS) == ["[1]", "[2]"]
    assert [each.detail for each in found.findings if each.row_id == "[1]" and each.kind is Kind.WRONG_HEADERS] == [
        "unlike its source: content-type, x-amz-meta-owner"
    ]


def test_object_that_may_not_be_looked_at_is_refused(world: World) -> None:
    """Neither present nor missing."""
    fill(world, 2)
    world.store.app_delete(O1)
    world.store.faults.add(Fault.refuse(DeniedError), on="stat", times=None)
    world.store.faults.add(Fault.refuse(DeniedError), on="list_page", key="up/", times=None)

    assert verified(world).kinds() == {"refused": 1}


def test_change_between_reading_and_judging_is_no_fault(world: World) -> None:
    """The service goes on while a large table is read: what looks wrong is looked at once more."""
    fill(world, 3)
    world.later(100)

    class Meddler(Silent):
        def phase(self, name: str, total: int | None = None) -> None:
            super().phase(name, total)
            if name == "objects":  # the rows are read
                world.save_key(1, "up/moved.png")
                world.store.app_put("up/moved.png", b"v1")
                world.store.app_delete(O1)
                world.add(4)
                world.sql("DELETE FROM assets WHERE id = 2")
                world.store.app_delete("up/2.png")

    assert verified(world, progress=Meddler()).kinds() == {}


def test_interrupted_verification_goes_on_where_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and pages that were read are not read again, and the end is that of one in a single go."""
    monkeypatch.setattr(reading, "PAGE_ROWS", 10)
    monkeypatch.setattr(reading, "MAX_LISTED", 10)
    fill(world, 35)
    world.store.app_delete(O1)
    world.store.app_put("up/stray.png", b"x")
    world.later(100)
    whole = verified(world)
    stops = 0
    while True:
        world.store.faults.clear()
        world.store.faults.add(Fault.refuse(StoreUnavailableError("away")), on="list_page", key="", skip=1, times=None)
        work = workspace(world.folder, resume=stops > 0)
        pages = len([call for call in world.store.calls if call[0] == "list_page"])
        try:
            report = verify(subject_of(world, sleep=lambda _seconds: None), work, headers=False)
        except StoreUnavailableError:
            stops += 1
            assert len([call for call in world.store.calls if call[0] == "list_page"]) <= pages + 8
            work.close(remove=False)
            continue
        work.close(remove=True)
        break

    assert stops == 3
    assert report["faults"] == whole.report["faults"] == {"missing": 1, "stray_old": 1}
    assert (report["rows"], report["objects"]) == (35, 35)


def test_listing_that_stands_still_ends_in_an_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that answers each page with the same keys would keep a verification for ever."""
    monkeypatch.setattr(reading, "MAX_LISTED", 1)
    fill(world, 3)
    page = world.store.list_page(prefix="", start_after="", delimiter="", limit=1)
    monkeypatch.setattr(world.store, "list_page", lambda **_: page)
    work = workspace(world.folder)
    with pytest.raises(Exception, match="does not go on from"):
        verify(subject_of(world), work, headers=False)
    work.close(remove=True)


def test_memory_does_not_grow_with_the_table(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No statement or listing asks for more than a page."""
    monkeypatch.setattr(reading, "PAGE_ROWS", 10)
    monkeypatch.setattr(reading, "MAX_LISTED", 10)
    fill(world, 60)
    limits: list[Any] = []
    real = world.store.list_page
    monkeypatch.setattr(world.store, "list_page", lambda **options: limits.append(options["limit"]) or real(**options))
    verified(world)

    assert limits
    assert max(limits) == 10


def test_objects_in_the_wrong_one_of_two_buckets_are_listed(tmp_path: Path, behaviour: Behaviour) -> None:
    """No row can lead to them: an old one of the new form, strangers in the target bucket."""
    settings = {"journal": True, "grace_seconds": 0, "target_bucket": "new"}
    world, target = World(tmp_path, behaviour, settings=settings), InMemoryStore(behaviour)
    world.add(1)
    target.app_put("clients/7/assets/2.png", b"v1")
    world.add(2, "clients/7/assets/2.png", body=None)
    world.store.app_put("clients/7/assets/hidden.png", b"x")
    target.app_put("up/1.png", b"stranger's")
    target.app_put("up/other.png", b"stranger's")
    target.app_put(".rekey/probe", b"the product's own")
    world.later(31)
    both: Any = TwoBuckets(world.store, target, world.context.rules.placing)  # type: ignore[arg-type] # as far as it is asked here

    found = verified(world, store=both)

    assert found.kinds() == {"misplaced": 3}
    assert found.of(Kind.MISPLACED) == ["clients/7/assets/hidden.png", "up/1.png", "up/other.png"]
    assert {each.detail for each in found.findings if each.key == "up/1.png"} == {
        "in bucket 'new'; a row that names this key means bucket 'assets'"
    }
    assert (found.report["objects"], found.report["reserved"]) == (5, 1)


def test_place_that_cannot_be_written_is_told_with_what_to_do(tmp_path: Path) -> None:
    """As in a container whose file system is read-only."""
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match=r"--state .*/file/verify.db: .* as --state FILE$"):
        workspace(tmp_path / "file")


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE assets (id INTEGER PRIMARY KEY, key TEXT)")
        database.execute("INSERT INTO assets VALUES (1, 'up/1.png')")


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_foreign, "holds something else"),
        (lambda path: path.write_text("a list that somebody needs\n" * 9), "holds something else"),
        (os.mkfifo, "no regular file"),
    ],
    ids=["database", "text", "fifo"],
)
def test_file_of_somebody_else_is_refused_and_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], object], why: str, *, resume: bool
) -> None:
    """What is kept in is emptied at the beginning and removed at the end: no such thing happens to another program's file."""
    path = tmp_path / "verify.db"
    make(path)
    before = (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")

    with pytest.raises(UsageError, match=f"--state .*verify.db: .*{why}"):
        workspace(tmp_path, resume=resume)

    assert (path.stat().st_mode, path.read_bytes() if path.is_file() else b"") == before
    assert list(tmp_path.iterdir()) == [path]


def test_file_of_somebody_else_beside_a_new_one_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """SQLite removes such a file where it finds one beside an empty database."""
    beside = tmp_path / "verify.db-wal"
    beside.write_text("theirs")

    with pytest.raises(UsageError, match=r"--state .*verify.db: .*verify.db-wal is there without it"):
        workspace(tmp_path)

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"verify.db-wal": "theirs"}


def test_new_file_empty_file_and_former_workspace_are_taken(tmp_path: Path) -> None:
    """Also the one that a killed process left, with its pages still beside it; at the end nothing of it is left."""
    workspace(tmp_path).close(remove=True)
    (tmp_path / "verify.db").touch()
    left = workspace(tmp_path)
    with left.page():
        left.note("began_at", 1)
    for path in list(tmp_path.iterdir()):
        (tmp_path / path.name.replace("verify.db", "killed.db")).write_bytes(path.read_bytes())
    left.close(remove=True)
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / path.name.replace("killed.db", "verify.db"))

    resumed = workspace(tmp_path, resume=True)
    kept = resumed.noted("began_at")
    resumed.close(remove=False)
    anew = workspace(tmp_path)
    forgotten = anew.noted("began_at")
    anew.close(remove=True)

    assert (kept, forgotten) == (1, None)
    assert list(tmp_path.iterdir()) == []


def test_usual_place_is_where_this_user_keeps_such_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_STATE_HOME, which the image sets, or below the home; for each table and run a file of its own."""
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    at_home = usual_place({"run": "1"})
    monkeypatch.setenv("XDG_STATE_HOME", "/var/lib/rekey/state")

    assert at_home.parent == Path("/home/somebody/.local/state/asset-rekey")
    assert usual_place({"run": "1"}) == Path("/var/lib/rekey/state/asset-rekey", at_home.name)
    assert usual_place({"run": "2"}).name != at_home.name
