"""Verification and repair on each database: the recount of a run, and a table that was set back (H15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.verification.findings import Kind
from tests.verifying import repaired, verified

if TYPE_CHECKING:
    from tests.builders import World


def test_run_is_recounted_and_a_table_that_was_set_back_is_healed(world: World) -> None:
    """Every outcome agrees; rows that name deleted keys are missing their objects, and are switched where the journal says."""
    world.settings = {**world.settings, "journal": True, "grace_seconds": 0}
    world.context = world.worker()
    for number in range(1, 6):
        world.add(number)
    world.go()
    world.later(100)
    sound = verified(world, world.run, headers=True)
    for number in (1, 2, 3):
        world.save_key(number, f"up/{number}.png")
    ill = verified(world, world.run)
    done = repaired(world)
    well = verified(world, world.run)

    assert sound.kinds() == {}
    assert sound.report["recount"] == {"deleted": {"ledger": 5, "agree": 5}}
    assert ill.of(Kind.MISSING) == ill.of(Kind.WRONG_ROW) == ["[1]", "[2]", "[3]"]
    assert (done["found"], done["healed"]) == ({"healable": 3}, 3)
    assert well.kinds() == {}
    assert [world.get(number) for number in (1, 2, 3)] == [b"v1"] * 3
