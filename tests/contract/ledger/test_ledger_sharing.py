"""Objects that several rows name, there and back, against each database (H29)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.builders import World

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
