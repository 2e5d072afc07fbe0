"""Objects that several rows name, there and back, and new keys that several rows want, against each database (H25, H29)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.key_suffix import suffix_of
from tests.builders import World
from tests.contract.ledger.conftest import TABLE

if TYPE_CHECKING:
    from pathlib import Path

SHARED = "up/shared.png"


def test_shared_object_goes_and_comes_back_for_all_its_rows(world: World) -> None:
    """Each client's row gets a copy of its own, and names the one object again after the rollback; a stranger's row is not mistaken."""
    world.add(1, SHARED, client=1)
    for number in (2, 3):
        world.add(number, SHARED, body=None, client=number)
    world.add(4, "up/other.png", client=1)
    world.go()
    assert world.states() == {"deleted": 4}
    world.sql("INSERT INTO assets (id, client_id, object_key) VALUES (9, 9, 'up/other.png')")
    world.take_back(world.run_id)
    world.go()

    assert [(world.key(number), world.get(number)) for number in (1, 2, 3)] == [(SHARED, b"v1")] * 3
    assert world.key(4) == "clients/1/assets/other.png"
    assert world.states() == {"deleted": 3, "parked": 1}
    assert world.store.contents().keys() == {SHARED, "clients/1/assets/other.png"}


def test_collisions_get_suffixes_on_every_database(database_url: str, tmp_path: Path) -> None:
    """By live moves within a run, and by rows that are in place in the next one; the key column is longer than the database's letters."""
    world = World(tmp_path, url=database_url, table=TABLE, settings={"on_collision": "suffix"})
    for number in (1, 2):
        world.add(number, f"up/{number}/logo.png", body=b"%d" % number)
    world.go()
    world.add(3, "up/3/logo.png", body=b"3")
    world.run_id = ""
    world.go()
    suffixes = [suffix_of("assets", f"[{number}]", f"up/{number}/logo.png") for number in (2, 3)]

    assert [world.key(number) for number in (1, 2, 3)] == [
        "clients/7/assets/logo.png",
        *(f"clients/7/assets/logo-{suffix}.png" for suffix in suffixes),
    ]
    assert [world.get(number) for number in (1, 2, 3)] == [b"1", b"2", b"3"]
    assert world.states() == {"in_place": 2, "deleted": 1}
    world.engine.dispose()
