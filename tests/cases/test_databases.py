"""Cases about the database, on SQLite, PostgreSQL and MariaDB where they differ: stale saves, paging, lost commits, locks, odd bytes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from sqlalchemy import event, exc, text

from app.assets import Assets
from app.database import open_engine, transaction
from app.errors import DatabaseUnavailableError, StoreRequestError
from app.stages.seed_moves import seed_moves
from app.states import MoveState, ParkedReason
from app.testing import Fault
from tests.builders import World, make_context, make_settings
from tests.cases.commit_door import cutting
from tests.cases.worlds import forbid_deleting_what_is_named
from tests.integration.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TABLE = "CREATE TABLE assets (id INTEGER PRIMARY KEY, client_id INTEGER, object_key VARCHAR(200), title VARCHAR(50))"
PAIRS = "CREATE TABLE assets (tenant VARCHAR(20), id VARCHAR(40), client_id INTEGER, object_key VARCHAR(200), PRIMARY KEY (tenant, id))"
WAITS = {"grace_seconds": 10, "settle_seconds": 5}
LONG_SECONDS = 1200  # that a row is tried for whose switch the database ends each time


def _filled(world: World, assets: int) -> World:
    for number in range(1, assets + 1):
        world.add(number, body=b"asset %d" % number, title="0")
    forbid_deleting_what_is_named(world)
    return world


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    """A world whose table lies in a database of each kind."""
    made = World(tmp_path, table=TABLE, url=database_url, settings=WAITS)
    yield made
    made.engine.dispose()


def test_case_27_a_reference_between_switch_and_delete_keeps_the_object(world: World) -> None:
    """Rows of two clients share an object, and a third comes to name it after the last switch: asked again just before the delete."""
    world.add(1, "up/shared.png", client=7)
    world.add(2, "up/shared.png", body=None, client=8)
    world.moved()
    world.add(3, "up/shared.png", body=None, client=9)
    world.go()

    assert world.key(3) == "up/shared.png"
    assert world.store.contents() == dict.fromkeys(("clients/7/assets/shared.png", "clients/8/assets/shared.png", "up/shared.png"), b"v1")
    assert world.states() == {"kept": 2}


def test_case_29_what_the_application_saves_between_copy_and_switch_stays(world: World) -> None:
    """Another column, a new key, the row's removal: nothing is written over, the re-pointed row is planned again, the other stays dead."""
    _filled(world, 3)
    world.seed()
    world.do("copy")
    world.sql("UPDATE assets SET title = 'edited' WHERE id = 1")
    world.store.app_put("up/new.png", b"new")
    world.save_key(2, "up/new.png")
    world.sql("DELETE FROM assets WHERE id = 3")
    world.store.app_delete("up/3.png")
    world.do("rename")
    world.go()

    rows = {number: (key, title) for number, key, title in world.sql("SELECT id, object_key, title FROM assets")}
    assert rows == {1: ("clients/7/assets/1.png", "edited"), 2: ("clients/7/assets/new.png", "0")}
    listed = " ".join(move.detail or "" for move in world.moves())
    assert {key: body for key, body in world.store.contents().items() if key not in listed and key != "up/2.png"} == {
        "clients/7/assets/1.png": b"asset 1",
        "clients/7/assets/new.png": b"new",
    }
    assert world.states() == {"deleted": 2, "superseded": 1}


def test_case_29_a_row_that_the_application_holds_is_switched_later(world: World) -> None:
    """Its edit is under way while the row is to be switched: it is waited for, and survives."""
    if world.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer: the switch waits for the whole file")
    _filled(world, 2)
    world.seed()
    world.do("copy")
    with transaction(world.engine) as editing:
        editing.execute(text("UPDATE assets SET title = 'edited' WHERE id = 1"))
        world.do("rename")
        assert (world.move(1).state, world.move(2).state) == (MoveState.COPIED, MoveState.RENAMED)
    world.go()

    assert sorted(world.sql("SELECT id, object_key, title FROM assets")) == [
        (1, "clients/7/assets/1.png", "edited"),
        (2, "clients/7/assets/2.png", "0"),
    ]


def test_case_35_rows_that_come_and_go_while_seeding_are_planned_once(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids in no order, rows inserted before and behind the cursor, removed on either side, and a seed that is stopped and begun again."""
    monkeypatch.setattr("app.stages.seed_pages.PAGE_ROWS", 20)
    world = World(tmp_path, table=PAIRS, url=database_url, settings={"id_column": "tenant,id", **WAITS})
    largest: list[int] = []
    stretches = Assets.stretch

    def stretch(self: Assets, *args: object, **kwargs: object) -> object:
        found, beyond = stretches(self, *args, **kwargs)  # type: ignore[arg-type]
        largest.append(len(found))
        return found, beyond

    monkeypatch.setattr(Assets, "stretch", stretch)
    numbers = iter(range(10_000))

    def insert(tenant: str) -> tuple[str, str]:
        row = (tenant, str(uuid.UUID(int=(next(numbers) * 2654435761) % 2**64)))
        world.sql("INSERT INTO assets VALUES (:tenant, :id, 7, :key)", tenant=row[0], id=row[1], key=f"up/{row[1]}.png")
        return row

    there = [insert(tenant) for tenant in ("b", "Ä", "a", "é") for _ in range(40)]
    stale = world.run
    late: list[tuple[str, str]] = []
    more, turn = True, 0
    while more:
        more = seed_moves(world.run, context=world.context).more
        turn += 1
        if turn <= 6:
            late += [insert("A"), insert("é")]
            gone = there.pop(turn * 7)
            world.sql("DELETE FROM assets WHERE tenant = :tenant AND id = :id", tenant=gone[0], id=gone[1])
        if turn == 4:
            assert seed_moves(stale, context=world.context).batches == [], "a seed that was stopped, and goes on with what it knew"
    planned = [move.row_id for move in world.moves()]

    assert len(planned) == len(set(planned))
    ids = {move.old_key for move in world.moves()}
    assert {f"up/{number}.png" for _, number in [*there, *late]} <= ids
    assert max(largest) == 20
    assert world.run.unseen == 0
    world.engine.dispose()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("answered", [True, False], ids=["done and not answered", "never arrived"])
@pytest.mark.parametrize("server", ["postgres", "mariadb"])
def test_case_36_a_connection_cut_at_commit_is_survived_by_the_next_task(
    server: str,
    answered: bool,  # noqa: FBT001 - a parameter of the test
    seed: int,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    """One COMMIT in twenty is cut: what became of it is read back, nothing is deleted on a guess, and the next task works."""
    url = request.getfixturevalue(f"{server}_url")
    world = _filled(World(tmp_path, table=TABLE, url=url, settings=WAITS), 6)
    runs, run_id = world.context.runs, world.run.id
    with cutting(url) as door:
        engine = open_engine(door.url)
        world.context = make_context(engine, world.store, make_settings(**WAITS), clock=world.clock)
        world.run_ledgers.append(world.context.runs)
        door.arm(share=0.05, answered=answered, seed=seed)
        failed = 0
        while runs.get(run_id).is_live:
            try:
                world.go(until=1)
            except DatabaseUnavailableError:
                failed += 1
                world.later(5)
            assert failed < 200
        engine.dispose()

    assert door.cuts > 1
    assert world.states() == {"deleted": 6}
    assert world.store.contents() == {f"clients/7/assets/{number}.png": b"asset %d" % number for number in range(1, 7)}
    assert sorted(world.sql("SELECT id, object_key FROM assets")) == [(number, f"clients/7/assets/{number}.png") for number in range(1, 7)]
    world.engine.dispose()


class _Application(threading.Thread):
    """Updates all rows, the last one first, again and again; what the database rolls back it does once more."""

    def __init__(self, url: str, rows: int) -> None:
        super().__init__(daemon=True)
        self.engine = open_engine(url, pool_size=1)
        self.rows, self.done, self.again = rows, 0, 0
        self.stopping = threading.Event()

    def run(self) -> None:
        """Until it is stopped."""
        while not self.stopping.wait(0.01):
            try:
                with transaction(self.engine) as connection:
                    for number in range(self.rows, 0, -1):
                        connection.execute(text("UPDATE assets SET title = title + 1 WHERE id = :id"), {"id": number})
                self.done += 1
            except DatabaseUnavailableError:
                self.again += 1
        self.engine.dispose()


@contextmanager
def _application(world: World, rows: int) -> Iterator[_Application]:
    application = _Application(world.engine.url.render_as_string(hide_password=False), rows)
    application.start()
    try:
        yield application
    finally:
        application.stopping.set()
        application.join(30)


NUMBERED = TABLE.replace("title VARCHAR(50)", "title INTEGER")


def test_case_37_an_application_that_locks_in_the_other_order_loses_nothing(database_url: str, tmp_path: Path) -> None:
    """Deadlocks and lock waits only take time: each of its updates is there, and each row is switched."""
    rows = 40
    world = _filled(World(tmp_path, table=NUMBERED, url=database_url, settings=WAITS), rows)
    with _application(world, rows) as application:
        for _ in range(200):
            with suppress(DatabaseUnavailableError):
                world.go(until=1)
            if world.moves() and not world.run.is_live:
                break

    assert application.done > 3
    assert world.states() == {"deleted": rows}
    assert sorted(world.sql("SELECT id, object_key, title FROM assets")) == [
        (number, f"clients/7/assets/{number}.png", application.done) for number in range(1, rows + 1)
    ]
    world.engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_case_37_a_hundred_renaming_threads_share_few_connections(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """On one SQLite file with the application writing, and on a pool of five: slower, and nothing is lost."""
    rows = 200
    world = _filled(World(tmp_path, table=NUMBERED, url=request.getfixturevalue(f"{kind}_url"), settings=WAITS), rows)
    world.seed()
    world.do("copy")
    ids = [move.id for move in world.moves()]
    with _application(world, 5) as application, ThreadPoolExecutor(100) as pool:
        workers = [world.worker() for _ in range(100)]
        results = list(pool.map(lambda number: world.do("rename", ids[number * 2 : number * 2 + 2], worker=workers[number]), range(100)))

    assert len(results) == 100
    world.go()
    assert world.states() == {"deleted": rows}
    assert {number: key for number, key in world.sql("SELECT id, object_key FROM assets")} == {  # noqa: C416 - rows of the driver
        number: f"clients/7/assets/{number}.png" for number in range(1, rows + 1)
    }
    assert {title for (title,) in world.sql("SELECT title FROM assets WHERE id <= 5")} == {application.done}
    world.engine.dispose()


SLOW = {
    "postgres": (
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END $$",
        "CREATE TRIGGER slow BEFORE UPDATE ON assets FOR EACH ROW EXECUTE FUNCTION slow()",
    ),
    "mariadb": ("CREATE TRIGGER slow BEFORE UPDATE ON assets FOR EACH ROW SET NEW.title = IF(SLEEP(0.05), '1', '2')",),
}
REFUSING = {
    "postgres": (
        "CREATE SEQUENCE tries",
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF nextval('tries') < 4 THEN
        RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001'; END IF; RETURN NEW; END $$""",
        "CREATE TRIGGER refuse BEFORE UPDATE ON assets FOR EACH ROW WHEN (OLD.id = 3) EXECUTE FUNCTION refuse()",
    ),
    "mariadb": (
        "CREATE SEQUENCE tries",
        """CREATE TRIGGER refuse BEFORE UPDATE ON assets FOR EACH ROW IF OLD.id = 3 AND NEXTVAL(tries) < 4 THEN
        SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'Deadlock found'; END IF""",
    ),
}


@pytest.mark.parametrize("server", ["postgres", "mariadb"])
def test_case_37_a_batch_that_the_server_ends_is_switched_row_by_row(server: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A trigger takes its time for each row, so that one statement for all would always be ended: the run ends all the same (S9)."""
    url = request.getfixturevalue(f"{server}_url")
    world = _filled(World(tmp_path, table=TABLE, url=url, settings=WAITS), 30)
    for statement in SLOW[server]:
        world.sql(statement)
    world.seed()
    world.do("copy")
    engine = open_engine(url, statement_seconds=1)
    result = world.do("rename", worker=make_context(engine, world.store, make_settings(**WAITS), clock=world.clock))
    engine.dispose()

    assert result.counts == {"renamed": 30}
    world.engine.dispose()


@pytest.mark.parametrize("server", ["postgres", "mariadb"])
def test_case_37_a_row_that_cannot_be_serialised_for_a_while_holds_up_no_other(
    server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A serialisation failure, or a deadlock, of one row of a batch: the others are switched at once, that one a little later."""
    url = request.getfixturevalue(f"{server}_url")
    world = _filled(World(tmp_path, table=TABLE, url=url, settings=WAITS), 5)
    for statement in REFUSING[server]:
        world.sql(statement)
    world.seed()
    world.do("copy")
    first = world.do("rename")

    assert first.counts == {"renamed": 4, "row not switched": 1}
    assert (world.move(3).state, world.move(3).attempts) == (MoveState.COPIED, 1)
    world.go()
    assert world.states() == {"deleted": 5}
    world.engine.dispose()


ALWAYS_REFUSING = {
    "sqlite": ("CREATE TRIGGER refuse BEFORE UPDATE ON assets WHEN old.id = 3 BEGIN SELECT RAISE(ABORT, 'database is locked'); END",),
    "postgres": (
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001'; END $$""",
        "CREATE TRIGGER refuse BEFORE UPDATE ON assets FOR EACH ROW WHEN (OLD.id = 3) EXECUTE FUNCTION refuse()",
    ),
    "postgres that is full": (
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$""",
        "CREATE TRIGGER refuse BEFORE UPDATE ON assets FOR EACH ROW WHEN (OLD.id = 3) EXECUTE FUNCTION refuse()",
    ),
}


@pytest.mark.parametrize("refusing", ALWAYS_REFUSING)
def test_case_37_a_row_whose_switch_never_succeeds_is_parked_in_the_end(
    refusing: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Its trigger raises what looks like an error of the moment, for ever: the others are switched at once, and the run ends (S8, S9)."""
    server = refusing.partition(" ")[0]
    url = "" if server == "sqlite" else request.getfixturevalue(f"{server}_url")
    world = _filled(World(tmp_path, table=TABLE, url=url, settings=WAITS), 5)
    for statement in ALWAYS_REFUSING[refusing]:
        world.sql(statement)
    world.seed()
    world.do("copy")
    first = world.do("rename")

    assert first.counts == {"renamed": 4, "row not switched": 1}
    assert (world.move(3).state, world.move(3).attempts) == (MoveState.COPIED, 1)
    begun = world.clock.boot()
    world.go(ticks=600)
    assert world.states() == {"deleted": 4, "parked": 1}
    assert (world.move(3).reason, world.move(3).parked_from) == (ParkedReason.FAILED, MoveState.COPIED)
    assert world.get(3) == b"asset 3"
    assert world.clock.boot() - begun > LONG_SECONDS
    world.engine.dispose()


def test_case_37_an_outage_of_the_database_parks_nothing_however_often_it_comes(tmp_path: Path) -> None:
    """Nothing is counted against a row unless the ledger answers, and the row's own statement fails again."""
    world = _filled(World(tmp_path, table=TABLE, settings=WAITS), 3)
    world.seed()
    world.do("copy")
    away: list[str] = []

    def refuse(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if away or "FROM assets" in statement:
            away.append(statement)
            raise exc.OperationalError(statement, {}, sqlite3.OperationalError("disk I/O error"))

    for _ in range(15):  # more often than a row is tried
        event.listen(world.engine, "before_cursor_execute", refuse)
        back = partial(event.remove, world.engine, "before_cursor_execute", refuse)
        with pytest.raises(DatabaseUnavailableError), patch("app.stages.runner.time.sleep", lambda _seconds, back=back: back()):
            world.do("rename")
        away.clear()
        world.later(120)

    assert {move.attempts for move in world.moves()} == {0}
    world.go()
    assert world.states() == {"deleted": 3}
    world.engine.dispose()


FORKING = """
import os
import sys
from sqlalchemy import text
from app import resources
from app.database import transaction
from app.settings import load

resources.configure(load({"database_url": sys.argv[1]}, environ={}, required=()))


def ask(number):
    for _ in range(200):
        with transaction(resources.engine(), read_only=True) as connection:
            assert connection.execute(text(f"SELECT {number}")).scalar_one() == number


ask(0)  # used before the fork, as by a module that asks at its import
children = []
for number in (1, 2, 3):
    pid = os.fork()
    if pid == 0:
        ask(number)
        os._exit(0)
    children.append(pid)
ask(4)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
ask(5)
print("no answer went astray")
"""


@pytest.mark.parametrize("server", ["postgres", "mariadb"])
def test_case_37_an_engine_that_was_used_before_a_fork_mixes_no_answers(server: str, request: pytest.FixtureRequest) -> None:
    """A prefork worker's children each open their own connections, and leave the parent's alone."""
    url = request.getfixturevalue(f"{server}_url")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("REKEY_")}
    done = subprocess.run(
        [sys.executable, "-c", FORKING, url], env=plain | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout.strip()) == (0, "no answer went astray"), done.stderr


def test_case_38_text_that_a_database_does_not_take_is_kept_readable(world: World) -> None:
    """An error with NUL and half a character in it: recorded, and the worker goes on."""
    _filled(world, 2)
    said = "the gateway said \x00\udc80 and ended"
    world.store.faults.add(Fault.refuse(StoreRequestError("up/1.png", said)), on="copy")
    world.seed()
    world.do("copy")
    failed = [move for move in world.moves() if move.attempts]

    assert len(failed) == 1
    assert "the gateway said \\x00\\udc80 and ended" in (failed[0].detail or "")
    world.go()
    assert world.states() == {"deleted": 2}


def test_case_38_rows_of_odd_bytes_are_parked_and_their_mates_move(tmp_path: Path) -> None:
    """SQLite lets a text column hold anything: NUL, a BLOB, what is no UTF-8."""
    world = _filled(World(tmp_path, table=TABLE, settings=WAITS), 2)
    for number, value in enumerate(
        ("CAST(x'75702f610062' AS TEXT)", "x'75702fff'", "x'00'", "CAST(x'75702fff2e706e67' AS TEXT)"), start=11
    ):
        world.sql(f"INSERT INTO assets (id, client_id, object_key) VALUES ({number}, 7, {value})")
    before = world.sql("SELECT id, hex(object_key) FROM assets WHERE id > 10")
    world.go()

    assert (world.states(), world.parked()) == ({"deleted": 2, "parked": 4}, {"bad_name": 4})
    assert world.sql("SELECT id, hex(object_key) FROM assets WHERE id > 10") == before
    assert sorted(world.store.contents()) == ["clients/7/assets/1.png", "clients/7/assets/2.png"]
