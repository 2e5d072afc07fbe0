"""The seed: every row examined gets one ledger row, whatever happens, and it ends (S8, S9)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from app import assets, row_ids
from app.assets import AssetRow, Assets
from app.stages import seed_moves as stage
from app.stages import seed_pages
from app.stages.in_flight import InFlight
from app.stages.pages_ahead import PagesAhead
from app.states import MoveState, ParkedReason
from tests.builders import World
from tests.unit.stages.at_once import AtOnce

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection


@pytest.fixture(params=["each in its turn", "the next one ahead"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    """One kind of store is enough: the seed only looks. Pages are read, and moves in flight counted, in both ways, with the same end."""
    made = World(tmp_path)
    if request.param == "the next one ahead":
        made.context = made.worker(pages=PagesAhead(made.clock, reader=AtOnce()), in_flight=InFlight())
    return made


@pytest.fixture
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seed_pages, "PAGE_ROWS", 3)


@pytest.mark.usefixtures("_small_pages")
def test_each_row_is_planned_once(world: World) -> None:
    """Keyset pages, then a pass that plans nothing."""
    for number in range(1, 9):
        world.add(number)
    ids = world.seed()

    assert sorted(ids) == list(range(1, 9))
    assert len({move.row_id for move in world.moves()}) == 8
    assert (world.run.seed_done, world.run.unseen) == (True, 0)


def test_page_is_numbered_in_the_order_of_its_new_keys(world: World) -> None:
    """So that the targets of a batch lie side by side in their clients' folders, and a page of a listing shows many."""
    for number in range(1, 7):
        world.add(number, client=number % 2)
    copies = [ids for batch in stage.seed_moves(world.run, context=world.context).batches for ids in batch]

    assert copies == [1, 2, 3, 4, 5, 6]
    assert [move.client for move in sorted(world.moves(), key=lambda move: move.id)] == ["0", "0", "0", "1", "1", "1"]


@pytest.mark.usefixtures("_small_pages")
def test_row_behind_the_cursor_is_caught_by_the_next_pass(world: World) -> None:
    """A late commit or a random id comes to lie before the cursor (H33, case 35)."""
    for number in (10, 20, 30, 40):
        world.add(number)
    world.run  # noqa: B018 - made before the row comes
    stage.seed_moves(world.run, context=world.context)
    world.add(5)
    world.seed()

    assert world.move(5).state is MoveState.PLANNED
    assert world.run.unseen == 0


@pytest.mark.usefixtures("_small_pages")
def test_rows_that_come_for_ever_end_as_unseen(world: World) -> None:
    """At most three passes (S9); what the last one did not see is said (S8)."""
    world.add(1000)
    for number in range(1, 50):
        seeded = stage.seed_moves(world.run, context=world.context)
        world.add(1000 - number)
        if not seeded.more:
            break
    assert world.run.seed_done
    world.go()

    assert world.run.unseen > 0
    assert world.report()["unseen"] + world.report()["rows"] == len(world.sql("SELECT 1 FROM assets")) - 1


def test_unseen_rows_are_counted_before_the_seed_is_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting may take minutes: a worker that dies meanwhile must not leave a run that looks complete (S8)."""
    world.add(1)
    monkeypatch.setattr(stage, "MAX_PASSES", 1)
    monkeypatch.setattr(stage, "count_unseen", _dies)
    stage.seed_moves(world.run, context=world.context)
    with pytest.raises(KeyboardInterrupt):
        stage.seed_moves(world.run, context=world.context)

    assert not world.run.seed_done


def _dies(*_: object, **__: object) -> int:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("_small_pages")
def test_two_seeds_at_once_plan_each_row_once(world: World) -> None:
    """The cursor moves by compare-and-swap: the slower one plans nothing (H27)."""
    for number in range(1, 6):
        world.add(number)
    same = world.run
    first = stage.seed_moves(same, context=world.context)
    second = stage.seed_moves(same, context=world.worker())

    assert len(first.batches[0]) + sum(len(batch) for batch in first.batches[1:]) == 3
    assert (second.batches, second.more) == ([], False)
    assert len(world.moves()) == 3


def test_message_from_an_earlier_pass_changes_nothing(world: World) -> None:
    """A redelivered seed finds its pass over."""
    world.add(1)
    old = world.run
    world.seed()
    before = world.run
    stage.seed_moves(old, context=world.context)

    assert world.run == before


@pytest.mark.parametrize("seconds", [0, 5])
def test_seed_stops_above_max_in_flight_and_is_restarted_below(seconds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never sleeps; the reconciler starts it again (H27)."""
    monkeypatch.setattr(seed_pages, "PAGE_ROWS", 3)
    world = World(tmp_path, settings={"max_in_flight": 3})
    world.context = world.worker(in_flight=InFlight(seconds=seconds))
    for number in range(1, 8):
        world.add(number)
    first = stage.seed_moves(world.run, context=world.context)
    held = stage.seed_moves(world.run, context=world.context)
    assert (len(world.moves()), held.more) == (3, False)
    assert not world.tick().seed
    world.do("copy", [1, 2, 3])
    world.do("rename", [1, 2, 3])
    world.later(5)

    assert world.tick().seed
    assert first.more
    world.messages.append((None, []))
    world.go()
    assert world.states() == {"deleted": 7}


def test_lost_seed_message_is_sent_again(world: World) -> None:
    """The reconciler sees that no page was planned for HINT_SECONDS."""
    world.add(1)
    world.run  # noqa: B018
    assert world.tick().seed
    world.later(5)
    stage.seed_moves(world.run, context=world.context)
    assert not world.tick().seed
    world.later(61)

    assert world.tick().seed


def test_collision_gets_a_ledger_row_of_its_own(world: World) -> None:
    """Two rows of one client with the same file name (H25, case 30): the second is parked, not swallowed."""
    world.add(1, "in/logo.png", body=b"one")
    world.add(2, "up/logo.png", body=b"two")
    world.go()

    assert world.states() == {"deleted": 1, "parked": 1}
    assert world.move(2).reason is ParkedReason.COLLISION
    assert (world.get(1), world.get(2)) == (b"one", b"two")
    assert world.report()["rows"] == 2


def test_keys_that_the_store_takes_for_one_collide(tmp_path: Path) -> None:
    """`a` and `/a` are one object on MinIO: two rows cannot both be moved to it (H6)."""
    from app.testing.versions import LIKE_MINIO  # noqa: PLC0415

    world = World(tmp_path, LIKE_MINIO, settings={"template": "{key}.moved"})
    world.add(1, "up/1.png")
    world.add(2, "/up/1.png", body=None)
    world.seed()

    assert sum(1 for move in world.moves() if move.reason in {ParkedReason.COLLISION, ParkedReason.BAD_NAME}) == 1


def test_second_run_plans_nothing_and_writes_nothing(world: World) -> None:
    """In place is seen by a look, and by nothing else (S9)."""
    for number in range(1, 6):
        world.add(number)
    world.go()
    sent = len(world.writes())
    world.run_id = ""
    world.go()

    assert world.states() == {"in_place": 5}
    assert len(world.writes()) == sent
    assert world.seed() == []


def test_odd_rows_are_parked_with_their_reason_and_the_rest_moves(world: World) -> None:
    """Each reason a row, no request for any of them (case 2, 6, 33, 38)."""
    odd: dict[int, tuple[object, object, str]] = {
        2: (None, 7, "bad_name"),
        3: ("", 7, "bad_name"),
        4: ("   ", 7, "bad_name"),
        5: ("up/.", 7, "bad_name"),
        6: ("up/..", 7, "bad_name"),
        7: ("up/", 7, "bad_name"),
        8: ("up/" + "ঘ" * 90, 7, "too_long"),
        9: ("u" * 1025, 7, "too_long"),
        10: ("up/a\0b.png", 7, "bad_name"),
        11: (b"\xff\xfe", 7, "bad_name"),
        12: ("up/ok.png", None, "bad_name"),
        13: ("up/ok2.png", "", "bad_name"),
        14: ("up/ok3.png", "7/../8", "bad_name"),
        15: ("up/ok4.png", "..", "bad_name"),
    }
    world.add(1)
    for number, (key, client, _) in odd.items():
        world.sql("INSERT INTO assets (id, client_id, object_key) VALUES (:id, :client, :key)", id=number, client=client, key=key)
    world.sql("INSERT INTO assets (id, client_id, object_key) VALUES (16, 7, CAST(x'75702fff2e706e67' AS TEXT))")
    world.add(18, "up/last.png")
    world.go()

    expected = {number: reason for number, (_, _, reason) in odd.items()} | {16: "bad_name"}
    assert {int(move.row_id[1:-1]): str(move.reason) for move in world.moves() if move.state is MoveState.PARKED} == expected
    assert world.key(1) == "clients/7/assets/1.png"
    assert world.key(18) == "clients/7/assets/last.png"
    assert sorted(world.store.contents()) == ["clients/7/assets/1.png", "clients/7/assets/last.png"]


def test_old_keys_of_any_length_fit_the_ledger(world: World) -> None:
    """A key column may hold a megabyte of something else: parked, with what the ledger takes of it."""
    world.add(1, "x" * 1_000_000, body=None)
    world.seed()

    assert world.move(1).reason is ParkedReason.TOO_LONG
    assert len(world.move(1).old_key) < 5000


@pytest.mark.parametrize(
    ("table", "id_column", "ids"),
    [
        (
            "CREATE TABLE assets (tenant TEXT, id TEXT, client_id INTEGER, object_key TEXT, PRIMARY KEY (tenant, id))",
            "tenant,id",
            [("é", "2"), ("a", "10"), ("a", "9"), ("b", "")],
        ),
        ("CREATE TABLE assets (id BLOB PRIMARY KEY, client_id INTEGER, object_key TEXT)", "id", [(b"\x00\xff",), (b"\x01",), (b"",)]),
        (
            "CREATE TABLE assets (a INTEGER, b INTEGER, id INTEGER, client_id INTEGER, object_key TEXT, PRIMARY KEY (a, b, id))",
            "a,b,id",
            [(1, 2, 3), (1, 3, 1), (0, 9, 9), (2, 0, 0)],
        ),
        ("CREATE TABLE assets (id TEXT PRIMARY KEY, client_id INTEGER, object_key TEXT)", "id", [("0b1e",), ("Ä",), ("z'; --",), ("🙂",)]),
        (
            "CREATE TABLE assets (id REAL, kind BOOLEAN, client_id INTEGER, object_key TEXT, PRIMARY KEY (id, kind))",
            "id,kind",
            [(0.1, True), (0.1, False), (1e300, True)],
        ),
    ],
    ids=["text pair", "bytes", "three", "text", "number and flag"],
)
def test_ids_of_any_type_page_and_switch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, id_column: str, ids: list[tuple[object, ...]]
) -> None:
    """Composite, text and binary primary keys (case 35)."""
    monkeypatch.setattr(seed_pages, "PAGE_ROWS", 2)
    world = World(tmp_path, table=table, settings={"id_column": id_column})
    columns = id_column.split(",")
    for number, values in enumerate(ids):
        names = ", ".join([*columns, "client_id", "object_key"])
        marks = ", ".join([f":{column}" for column in columns] + ["7", ":key"])
        world.sql(f"INSERT INTO assets ({names}) VALUES ({marks})", **dict(zip(columns, values, strict=True)), key=f"up/{number}.png")
        world.store.app_put(f"up/{number}.png", b"%d" % number)
    world.go()

    assert world.states() == {"deleted": len(ids)}
    assert sorted(key for (key,) in world.sql("SELECT object_key FROM assets")) == [
        f"clients/7/assets/{number}.png" for number in range(len(ids))
    ]


def test_rows_without_an_id_are_said_to_be_unseen(tmp_path: Path) -> None:
    """SQLite lets a primary key be NULL: such a row cannot be addressed, holds nobody up, and is not forgotten (S8)."""
    world = World(tmp_path, table="CREATE TABLE assets (id TEXT PRIMARY KEY, client_id INTEGER, object_key TEXT)")
    world.sql("INSERT INTO assets VALUES (NULL, 7, 'up/none.png'), ('a', 7, 'up/a.png')")
    world.store.app_put("up/none.png", b"none")
    world.store.app_put("up/a.png", b"a")
    world.go()

    assert world.states() == {"deleted": 1}
    assert (world.run.unseen, world.store.app_get("up/none.png")) == (1, b"none")


def test_id_that_is_no_text_anybody_can_read_still_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are no UTF-8 in a text id (case 38)."""
    monkeypatch.setattr(seed_pages, "PAGE_ROWS", 1)
    world = World(tmp_path, table="CREATE TABLE assets (id TEXT PRIMARY KEY, client_id INTEGER, object_key TEXT)")
    world.sql("INSERT INTO assets VALUES (CAST(x'61ff' AS TEXT), 7, 'up/a.png'), ('b', 7, 'up/b.png')")
    for name in "ab":
        world.store.app_put(f"up/{name}.png", name.encode())
    world.go()

    assert (world.states(), world.parked()) == ({"deleted": 1, "parked": 1}, {"bad_name": 1})
    assert sorted(world.store.contents()) == ["clients/7/assets/b.png", "up/a.png"]


@pytest.mark.parametrize("table", ["order", "Client Assets", "main.Client Assets", 'main."a.b"'])
def test_tables_of_any_name_work(tmp_path: Path, table: str) -> None:
    """Reserved, mixed-case, with blanks and dots, schema-qualified (case 38)."""
    name = table.removeprefix("main.").strip('"')
    world = World(
        tmp_path,
        table=f'CREATE TABLE "{name}" ("Id" INTEGER PRIMARY KEY, "Client" INTEGER, "Object Key" TEXT, "File Name" TEXT)',
        settings={"table": table, "id_column": "Id", "client_column": "Client", "key_column": "Object Key", "name_column": "File Name"},
    )
    world.sql(f"INSERT INTO \"{name}\" VALUES (1, 7, 'blob/0815', 'photo %41.png')")
    world.store.app_put("blob/0815", b"photo")
    world.go()

    assert list(world.sql(f'SELECT * FROM "{name}"')) == [(1, 7, "clients/7/assets/photo %41.png", "photo %41.png")]
    assert world.store.contents() == {"clients/7/assets/photo %41.png": b"photo"}


@pytest.mark.parametrize("where", ["client_id = 7", "object_key LIKE 'up/%'", "object_key <> ':x' AND 1 = 1", r"object_key <> '\:' OR 0"])
def test_where_chooses_the_rows_as_the_database_reads_it(tmp_path: Path, where: str) -> None:
    """Percent signs, colons and backslashes are the operator's SQL, and its OR does not escape its brackets."""
    world = World(tmp_path, settings={"where": f"({where}) AND id <> 2"})
    world.add(1)
    world.add(2)
    world.go()

    assert world.states() == {"deleted": 1}
    assert world.key(2) == "up/2.png"


@pytest.mark.parametrize("id_column", ["id", "kind,id"])
def test_where_that_few_rows_meet_is_looked_for_a_stretch_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, id_column: str
) -> None:
    """One statement through a table of millions would be ended by its server, again and again (H30)."""
    monkeypatch.setattr(assets, "STRETCH_ROWS", 4)
    monkeypatch.setattr(seed_pages, "PAGE_ROWS", 2)
    columns = "id INTEGER, kind INTEGER DEFAULT 1, client_id INTEGER, object_key TEXT"
    table = f"CREATE TABLE assets ({columns}, PRIMARY KEY ({id_column}))"
    world = World(tmp_path, table=table, settings={"where": "client_id = 9", "id_column": id_column})
    chosen = {2, 13, 14, 15, 30}
    for number in range(1, 31):
        world.add(number, client=9 if number in chosen else 7)
    stretches: list[int] = []
    page = Assets._page

    def spy(self: Assets, connection: Connection, *, after: str | None, upto: str | None, limit: int) -> list[AssetRow]:
        low, high = (row_ids.from_text(bound)[-1] if bound else edge for bound, edge in ((after, 0), (upto, 99)))
        stretches.append(world.sql("SELECT COUNT(*) FROM assets WHERE id > :low AND id <= :high", low=low, high=high)[0][0])
        return page(self, connection, after=after, upto=upto, limit=limit)

    monkeypatch.setattr(Assets, "_page", spy)
    world.go()

    assert {number for number in range(1, 31) if not world.key(number).startswith("up/")} == chosen
    assert (world.states(), world.run.unseen) == ({"deleted": 5}, 0)
    assert max(stretches) <= 4


def test_small_run_still_fills_its_workers(tmp_path: Path) -> None:
    """Batches are as large as leaves eight messages to each task that is at work: here two with a copy each."""
    world = World(tmp_path, settings={"copy_concurrency": 2, "batch_size": 5})
    for number in range(1, 49):
        world.add(number)
    seeded = stage.seed_moves(world.run, context=world.context)

    assert [len(batch) for batch in seeded.batches] == [3] * 16
    assert stage.batch_size(world.run, 1000, world.context) == 5
    assert stage.batch_size(dataclasses.replace(world.run, rows_estimate=48), 1, world.context) == 3
    assert stage.batch_size(dataclasses.replace(world.run, rows_estimate=0), 1, world.context) == 1


@pytest.mark.parametrize(("concurrency", "copies"), [(100, 100), (50, 200), (400, 50), (16, 200), (1, 200)])
def test_copies_that_a_worker_has_at_work_at_once_are_a_page(tmp_path: Path, concurrency: int, copies: int) -> None:
    """What many tasks hold ends in any order, and is what runs alone if the worker dies."""
    world = World(tmp_path, settings={"copy_concurrency": concurrency})

    assert stage.batch_size(world.run, 1_000_000, world.context) == copies


def test_tasks_with_a_copy_each_have_smaller_messages(tmp_path: Path) -> None:
    """Where the rate is bounded, each of a hundred tasks is at work by itself."""
    world = World(tmp_path, settings={"copy_concurrency": 100})
    bounded = dataclasses.replace(world.run, rates={"copy": 50})

    assert stage.batch_size(bounded, 1_000_000, world.context) == 50
