"""The whole chain against each database: rows that it refuses, collations, locks, ids and names (S5, case 30, 35, 38)."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, event, text

from app import assets
from app.database import open_engine, transaction
from app.states import MoveState, ParkedReason
from app.testing import Fault
from tests.builders import World
from tests.contract.ledger.conftest import SERVERS, TABLE

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection


@pytest.fixture(params=SERVERS)
def server_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty database on a real server."""
    return str(request.getfixturevalue(f"{request.param}_url"))


def test_assets_of_all_fates_end_as_they_should(world: World) -> None:
    """Moved, in place, shared, colliding, missing, waiting: the same on every database."""
    world.add(1)
    world.add(2, "clients/7/assets/2.png")
    world.add(3, "up/shared.png")
    world.add(4, "up/shared.png", body=None, client=8)
    world.add(5, "in/1.png")
    world.add(6, body=None)
    world.add(7, "in/x.png")
    world.add(8, "clients/7/assets/x.png", client=9)
    world.add(9, None, body=None)
    world.sql("UPDATE assets SET object_key = NULL WHERE id = 9")
    world.go()

    assert world.states() == {"deleted": 5, "in_place": 1, "parked": 3}
    assert world.parked() == {"collision": 1, "missing_source": 1, "bad_name": 1}
    assert world.report()["rows"] == 9
    assert [world.get(number) for number in (1, 2, 3, 4, 5, 7, 8)] == [b"v1"] * 7


def test_standstill_has_its_reason_on_every_database(world: World) -> None:
    """A worker that died with a batch, a message that nobody takes, an object that is not there, a store that is away."""
    for number in range(1, 5):
        world.add(number, body=None if number == 4 else b"v1")
    ids = world.seed()
    world.do("copy", ids[:1])
    world.crash_in("copy", ids[1:2])
    world.later(12)
    dead = json.loads(json.dumps(world.report()))["stall"]
    world.later(50)
    world.go(until=3)
    missing = world.report()["stall"]
    world.store.faults.add(Fault.slow_down(), on="copy")
    world.store.faults.add(Fault.slow_down(), on="put")
    world.store.app_put("up/4.png", b"v1")
    world.later(10)
    world.do("copy", ids[3:])

    assert dead.startswith("copy, 1 in hand and 2 queued, nothing done for 1")
    assert "; rename, 1 queued and none taken up for 1" in dead
    assert missing is not None
    assert missing.startswith("an asset's object is missing: looked for again for about ")
    assert str(world.report()["stall"]).startswith("no request to the object store goes through: SlowDown")


def test_second_run_changes_nothing(world: World) -> None:
    """S9."""
    for number in range(1, 6):
        world.add(number)
    world.go()
    sent = len(world.writes())
    world.run_id = ""
    world.go()

    assert (world.states(), len(world.writes())) == ({"in_place": 5}, sent)


def test_keys_that_differ_by_case_only_are_two_objects(world: World) -> None:
    """MariaDB's usual collation is blind to case: Logo and logo are moved as two, and neither keeps the other's object (H6, H25)."""
    world.add(1, "up/Logo.png", body=b"large")
    world.add(2, "up/logo.png", body=b"small")
    world.go()

    assert world.states() == {"deleted": 2}
    assert (world.get(1), world.get(2)) == (b"large", b"small")


def test_row_is_found_among_very_many_that_only_look_alike(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """MariaDB's collation finds all of them for each other: the one row that needs the old object must not drown (S4)."""
    monkeypatch.setattr(assets, "MANY", 3)
    for number in range(1, 9):
        world.add(number, "UP/x.png", body=b"large", client=number)
    world.add(9, "up/x.png", body=b"small", client=9)
    world.add(10, "up/x.png", body=None, client=None)
    world.go()

    assert world.get(10) == b"small"
    assert world.move(9).state is MoveState.KEPT


def test_rows_are_counted_as_where_chooses_them(database_url: str, tmp_path: Path) -> None:
    """For the size of batches and of progress bars."""
    world = World(tmp_path, table=TABLE, settings={"where": "id > 1"}, url=database_url)
    for number in (1, 2, 3):
        world.add(number)
    with transaction(world.engine, read_only=True) as connection:
        assert world.context.assets.count(connection) == 2
        assert world.context.assets.count_nameless(connection) == 0
        world.context.assets.set_keys(connection, [])
    assert getattr(world.context.assets.key_type, "length", None) == 200
    world.engine.dispose()


def test_switch_is_compared_byte_for_byte(world: World) -> None:
    """The application changed only the case of the key between copy and switch: that is another object (S5)."""
    world.add(1, "up/logo.png", body=b"old")
    world.moved(up_to="copy")
    world.store.app_put("up/Logo.png", b"new")
    world.save_key(1, "up/Logo.png")
    world.go()

    assert (world.key(1), world.get(1)) == ("clients/7/assets/Logo.png", b"new")


def test_key_column_that_is_too_short_parks_only_the_long_key(server_url: str, tmp_path: Path) -> None:
    """PostgreSQL and strict MariaDB refuse the whole statement: it is repeated row by row (S5)."""
    world = World(tmp_path, table=TABLE.replace("VARCHAR(200)", "VARCHAR(30)"), url=server_url)
    world.add(1)
    world.add(2, "up/a-rather-long-name.png")
    world.add(3)
    world.go()

    assert (world.states(), world.parked()) == ({"deleted": 2, "parked": 1}, {"rejected": 1})
    assert world.get(2) == b"v1"
    world.engine.dispose()


def test_unique_key_that_is_blind_to_case_parks_one_row(mariadb_url: str, tmp_path: Path) -> None:
    """The table takes Logo and logo for the same key, the store does not (case 30)."""
    world = World(tmp_path, table=TABLE.replace("VARCHAR(200)", "VARCHAR(200) UNIQUE"), url=mariadb_url)
    world.add(1, "in/Logo.png", body=b"large")
    world.add(2, "up/logo.png", body=b"small")
    world.add(3)
    world.go()

    assert (world.states(), world.parked()) == ({"deleted": 2, "parked": 1}, {"rejected": 1})
    assert {world.get(1), world.get(2)} == {b"large", b"small"}
    world.engine.dispose()


@pytest.mark.parametrize("when", ["BEFORE", "AFTER"])
def test_trigger_that_changes_the_key_is_undone_on_postgresql(postgres_url: str, tmp_path: Path, when: str) -> None:
    """RETURNING would not see what an AFTER trigger does: the row is read back (H11)."""
    world = World(tmp_path, table=TABLE, url=postgres_url)
    body = (
        "new.object_key := lower(new.object_key); RETURN new;"
        if when == "BEFORE"
        else "UPDATE assets SET object_key = lower(new.object_key) WHERE id = new.id AND object_key <> lower(new.object_key); RETURN NULL;"
    )
    with transaction(world.engine) as connection:
        connection.exec_driver_sql(f"CREATE FUNCTION lowered() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$")
        fires = "FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION lowered()"
        connection.exec_driver_sql(f"CREATE TRIGGER lowering {when} UPDATE OF object_key ON assets {fires}")
    world.add(1, "up/Logo.png")
    world.add(2)
    world.go()

    assert (world.key(1), world.move(1).reason) == ("up/Logo.png", ParkedReason.REJECTED)
    assert world.move(2).state is MoveState.DELETED
    world.engine.dispose()


def test_row_that_the_application_holds_does_not_hold_up_its_mates(server_url: str, tmp_path: Path) -> None:
    """A long transaction of the application keeps one row: the others are switched, that one later (S5, H30)."""
    world = World(tmp_path, table=TABLE, url=server_url)
    for number in (1, 2, 3):
        world.add(number)
    world.moved(up_to="copy")
    application = create_engine(server_url)  # without our time-outs
    with application.begin() as holder:
        holder.execute(text("UPDATE assets SET title = 'mine' WHERE id = 2"))
        world.do("rename")
        assert world.states() == {"copied": 1, "renamed": 2}
    application.dispose()
    world.later(6)
    world.go()

    assert world.states() == {"deleted": 3}
    assert world.move(2).attempts == 0
    world.engine.dispose()


@pytest.mark.parametrize("where", [None, "client_id = 7"])
@pytest.mark.parametrize(
    ("columns", "id_column", "ids"),
    [
        ("id UUID PRIMARY KEY", "id", [(uuid.UUID(int=number << 96 | 7),) for number in (5, 1, 3)]),
        ("id NUMERIC(20, 2) PRIMARY KEY", "id", [(1,), ("2.50",), (10**15,)]),
        ("id TIMESTAMP NOT NULL PRIMARY KEY", "id", [("2024-01-02 03:04:05",), ("2020-02-29 00:00:00",), ("2037-12-31 23:59:59",)]),
        ("tenant VARCHAR(40), id BIGINT, PRIMARY KEY (tenant, id)", "tenant,id", [("b", 1), ("a", 2**40), ("a", 3), ("é", 0)]),
        (
            "tenant VARCHAR(40), kind BOOLEAN, id DATE, PRIMARY KEY (tenant, kind, id)",
            "tenant,kind,id",
            [("a", True, "2024-01-02"), ("a", False, "2024-01-02")],
        ),
    ],
    ids=["uuid", "decimal", "time", "pair", "three"],
)
def test_ids_of_any_type_page_and_switch(
    server_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    columns: str,
    id_column: str,
    ids: list[tuple[object, ...]],
    where: str | None,
) -> None:
    """Composite keys, uuids, decimals, times: read, kept as text, and found again, with a WHERE from stretch to stretch (case 35)."""
    monkeypatch.setattr("app.stages.seed_pages.PAGE_ROWS", 2)
    monkeypatch.setattr(assets, "STRETCH_ROWS", 1)
    table = f"CREATE TABLE assets ({columns}, client_id INTEGER, object_key VARCHAR(200))"
    world = World(tmp_path, table=table, settings={"id_column": id_column, "where": where}, url=server_url)
    names = id_column.split(",")
    for number, values in enumerate(ids):
        marks = ", ".join(f":{name}" for name in names)
        world.sql(
            f"INSERT INTO assets ({id_column}, client_id, object_key) VALUES ({marks}, 7, :key)",
            **dict(zip(names, values, strict=True)),
            key=f"up/{number}.png",
        )
        world.store.app_put(f"up/{number}.png", b"%d" % number)
    world.go()

    assert world.states() == {"deleted": len(ids)}
    assert sorted(key for (key,) in world.sql("SELECT object_key FROM assets")) == [
        f"clients/7/assets/{number}.png" for number in range(len(ids))
    ]
    world.engine.dispose()


def test_ids_of_a_type_of_the_clients_own_switch_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    """An enumeration compares with nothing but itself: an array of texts would be refused (case 35)."""
    columns = "kind kind, id INTEGER, client_id INTEGER, object_key VARCHAR(200), PRIMARY KEY (kind, id)"
    table = f"CREATE TYPE kind AS ENUM ('logo', 'photograph'); CREATE TABLE assets ({columns})"
    world = World(tmp_path, table=table, settings={"id_column": "kind,id"}, url=postgres_url)
    for number, kind in enumerate(("photograph", "logo", "logo")):
        world.sql(
            "INSERT INTO assets (kind, id, client_id, object_key) VALUES (CAST(:kind AS kind), :id, 7, :key)",
            kind=kind,
            id=number,
            key=f"up/{number}.png",
        )
        world.store.app_put(f"up/{number}.png", b"%d" % number)
    world.go()

    assert world.states() == {"deleted": 3}
    assert sorted(key for (key,) in world.sql("SELECT object_key FROM assets")) == [f"clients/7/assets/{number}.png" for number in range(3)]
    world.engine.dispose()


def test_quoted_and_schema_qualified_names_work_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    """Case 38: "Tenant"."Client Assets" with a column "File Name"; a reserved word beside it in REFERENCES."""
    engine = open_engine(postgres_url)
    with transaction(engine) as connection:
        connection.exec_driver_sql('CREATE SCHEMA "Tenant"')
        connection.exec_driver_sql('CREATE TABLE "Tenant"."order" ("user" TEXT)')
    engine.dispose()
    world = World(
        tmp_path,
        table='CREATE TABLE "Tenant"."Client Assets" ("Id" INTEGER PRIMARY KEY, "Client" INTEGER, "Key" TEXT, "File Name" TEXT)',
        settings={
            "table": "Tenant.Client Assets",
            "id_column": "Id",
            "client_column": "Client",
            "key_column": "Key",
            "name_column": "File Name",
            "references": ("Tenant.order.user",),
            "where": "\"File Name\" LIKE '%:_.png' AND \"Key\"::text <> ''",
        },
        url=postgres_url,
    )
    world.sql(
        "INSERT INTO \"Tenant\".\"Client Assets\" VALUES (1, 7, 'a/1', 'x\\:1.png'), (2, 7, 'a/2', 'y\\:2.png'), (3, 7, 'a/3', 'z.jpg')"
    )
    world.sql('INSERT INTO "Tenant"."order" VALUES (\'a/2\')')
    for number in (1, 2, 3):
        world.store.app_put(f"a/{number}", b"%d" % number)
    world.go()

    assert world.states() == {"deleted": 1, "kept": 1}
    assert sorted(world.store.contents()) == ["a/2", "a/3", "clients/7/assets/x:1.png", "clients/7/assets/y:2.png"]
    world.engine.dispose()


@pytest.mark.parametrize("rows", [20_000])
def test_statements_of_a_busy_ledger_go_by_indexes_on_postgresql(postgres_url: str, tmp_path: Path, rows: int) -> None:
    """Ticks, claims and the questions before each delete cost what they find, not what the ledger holds."""
    world = World(tmp_path, table=TABLE, url=postgres_url)
    world.add(1)
    world.seed()
    statements: list[tuple[str, object]] = []
    with transaction(world.engine) as connection:
        columns = [
            column
            for (column,) in connection.exec_driver_sql(
                "SELECT column_name FROM information_schema.columns WHERE table_name = 'rekey_moves'"
            )
        ]
        others = {
            "id": "n",
            "row_id": "'r' || n",
            "live_hash": "sha256(n::text::bytea)",
            "new_hash": "sha256(n::text::bytea)",
            "old_hash": "sha256(('o' || n)::bytea)",
        }
        others |= {
            "state": "CASE WHEN mod(n, 10) < 8 THEN 'deleted' WHEN mod(n, 10) = 8 THEN 'renamed' ELSE 'copied' END",
            "due_at": "due_at + n::bigint * 1000000",
        }
        values = ", ".join(others.get(column, column) for column in columns)
        connection.exec_driver_sql(
            f"INSERT INTO rekey_moves ({', '.join(columns)}) SELECT {values} FROM rekey_moves, generate_series(2, {rows}) AS n WHERE id = 1"
        )
    autocommit = world.engine.execution_options(isolation_level="AUTOCOMMIT")
    with autocommit.connect() as plain:
        plain.exec_driver_sql("VACUUM ANALYZE rekey_moves")

    def note(_connection: Connection, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if "rekey_moves" in statement and not statement.startswith("EXPLAIN"):
            statements.append((statement, parameters))

    event.listen(world.engine, "before_cursor_execute", note)
    world.tick()
    world.later(61)
    statements.clear()
    world.tick()
    world.do("copy", [1])
    world.do("rename", [1])
    world.do("delete", [1])
    event.remove(world.engine, "before_cursor_execute", note)
    plans = {}
    with transaction(world.engine) as connection:
        for statement, parameters in statements:
            single = parameters[0] if isinstance(parameters, list) else parameters
            if statement.startswith(("SELECT", "UPDATE")):
                plan = connection.exec_driver_sql(f"EXPLAIN {statement}", single).scalars().all()  # type: ignore[arg-type]
                plans[statement] = "\n".join(plan)
    reading_all = [statement for statement, plan in plans.items() if "Seq Scan on rekey_moves" in plan]

    assert len(plans) > 8
    assert reading_all == []
    world.engine.dispose()


def test_more_moves_are_due_than_fit_one_statement(postgres_url: str, tmp_path: Path) -> None:
    """PostgreSQL takes 65,535 values: MAX_IN_FLIGHT may be larger."""
    world = World(tmp_path, table=TABLE, url=postgres_url)
    world.add(1)
    world.seed()
    with transaction(world.engine) as connection:
        columns = [
            column
            for (column,) in connection.exec_driver_sql(
                "SELECT column_name FROM information_schema.columns WHERE table_name = 'rekey_moves'"
            )
        ]
        others = {"id": "n", "row_id": "'r' || n", "live_hash": "sha256(n::text::bytea)"}
        values = ", ".join(others.get(column, column) for column in columns)
        connection.exec_driver_sql(
            f"INSERT INTO rekey_moves ({', '.join(columns)}) SELECT {values} FROM rekey_moves, generate_series(2, 70000) AS n WHERE id = 1"
        )
    world.later(61)

    assert len(world.context.queues.take_due(world.run, stage="copy", state=MoveState.PLANNED, limit=100_000)) == 70_000
    world.engine.dispose()
