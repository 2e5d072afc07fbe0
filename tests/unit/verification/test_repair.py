"""A table restored from an older back-up is healed by the journal: rows that name deleted keys are switched to their bytes (H15)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from app import journal
from app.database import transaction
from app.errors import UsageError
from app.schema import metadata
from app.states import RunState
from app.verification.findings import Kind
from app.verification.healing import heal
from app.verification.repair import find
from tests.builders import World
from tests.verifying import WHERE, repaired, subject_of, verified, workspace

if TYPE_CHECKING:
    from pathlib import Path

    from app.testing import Behaviour

O1, N1 = "up/1.png", "clients/7/assets/1.png"


def migrated(world: World, count: int = 3) -> None:
    """A finished run."""
    for number in range(1, count + 1):
        world.add(number)
    world.go()
    world.later(100)


def restore(world: World, count: int = 3, *, ledger: bool = False) -> None:
    """Set the rows back to their old keys, as a back-up from before the run has them; the ledger of then was empty."""
    for number in range(1, count + 1):
        world.save_key(number, f"up/{number}.png")
    if not ledger:
        world.sql("DELETE FROM rekey_moves")
        world.sql("DELETE FROM rekey_runs")


def test_restored_table_is_healed(world: World) -> None:
    """Every row is readable again, nothing is written to the bucket, and a second repair finds nothing."""
    migrated(world)
    objects = world.store.contents()
    restore(world)
    before = verified(world)

    done = repaired(world)

    assert before.of(Kind.MISSING) == ["[1]", "[2]", "[3]"]
    assert (done["found"], done["healed"]) == ({"healable": 3}, 3)
    assert [world.get(number) for number in (1, 2, 3)] == [b"v1"] * 3
    assert world.store.contents() == objects
    assert verified(world).kinds() == {}
    assert repaired(world)["found"] == {}


def test_repair_shows_first_and_changes_nothing_by_that(world: World) -> None:
    """The finding half touches no row."""
    migrated(world)
    restore(world)

    found = repaired(world, really=False)

    assert found["found"] == {"healable": 3}
    assert found["examples"]["healable"][0] == {"case": "healable", "row_id": "[1]", "old_key": O1, "new_key": N1}
    assert world.key(1) == O1


def test_row_is_healed_when_the_ledger_was_lost_with_the_database(world: World) -> None:
    """A back-up from before `rekey init` has no ledger at all."""
    migrated(world)
    restore(world)
    with transaction(world.engine) as connection:
        metadata.drop_all(connection)

    done = repaired(world, has_ledger=False)

    assert done["healed"] == 3
    assert verified(world, has_ledger=False).kinds() == {}


def test_only_rows_that_lack_their_object_are_touched(world: World) -> None:
    """One names its new key still, one was given another key, one is gone; at the old key of one lies another object: that is listed."""
    migrated(world, 5)
    restore(world, 5)
    world.save_key(1, N1)
    world.save_key(2, "up/other.png")
    world.store.app_put("up/3.png", b"anew")
    world.sql("DELETE FROM assets WHERE id = 4")

    done = repaired(world)

    assert (done["found"], done["healed"]) == ({"healable": 1, "reused": 1}, 1)
    assert [world.key(number) for number in (1, 2, 3, 5)] == [N1, "up/other.png", "up/3.png", "clients/7/assets/5.png"]


def test_row_is_left_alone_when_its_bytes_are_in_doubt(world: World) -> None:
    """Written again since, gone, named by another row, or of another client: each is listed with its case."""
    migrated(world, 5)
    restore(world, 5)
    world.store.app_put(N1, b"newer")
    world.store.app_delete("clients/7/assets/2.png")
    world.add(9, "clients/7/assets/3.png", body=None)
    world.sql("UPDATE assets SET client_id = 8 WHERE id = 4")

    done = repaired(world)

    assert done["found"] == {"healable": 1, "changed": 1, "lost": 1, "taken": 1, "other_client": 1}
    assert [world.key(number) for number in range(1, 5)] == [f"up/{number}.png" for number in range(1, 5)]
    assert world.get(5) == b"v1"


def test_object_that_was_moved_on_by_a_later_run_is_found_at_its_last_key(tmp_path: Path, behaviour: Behaviour) -> None:
    """Two runs with two templates: the journal leads from key to key."""
    world = World(tmp_path, behaviour, settings={"journal": True, "grace_seconds": 0})
    migrated(world, 2)
    world.settings = {**world.settings, "template": "v2/{client_id}/{file_name}"}
    world.context = world.worker()
    world.run_id = ""
    world.go()
    world.later(100)
    restore(world, 2)

    done = repaired(world)

    assert done["healed"] == 2
    assert world.key(1) == "v2/7/1.png"
    assert world.get(1) == b"v1"


def rolled_back(world: World, count: int = 3) -> None:
    """A run, and the one that took it back, both finished."""
    migrated(world, count)
    world.take_back(world.run_id)
    world.go()
    world.later(100)


def test_asset_that_is_written_after_a_rollback_is_healthy(world: World) -> None:
    """The journal has the delete of its key, and after that the move that led back there: what lies there is the row's own."""
    rolled_back(world)
    world.store.app_put(O1, b"newer")
    world.store.app_put("up/2.png", b"newer")
    plain = verified(world).kinds()

    assert world.key(1) == O1
    assert repaired(world)["found"] == {}
    assert plain == {}


def test_key_that_was_left_again_after_a_rollback_is_a_deleted_one(world: World) -> None:
    """The last word counts: a run that came after the rollback deleted it once more, and another object lies there since."""
    forward = world.context
    rolled_back(world)
    world.context, world.run_id = forward, ""
    world.go()
    world.later(100)
    restore(world)
    world.store.app_put(O1, b"somebody else's")

    assert repaired(world)["found"] == {"healable": 2, "reused": 1}


def test_repair_is_refused_while_a_run_is_running(world: World) -> None:
    """It would race with the workers; a paused run is none, once they have let go of what they had in hand."""
    migrated(world)
    restore(world, ledger=True)
    world.run_id = ""
    world.add(9)
    world.seed()
    lease = world.crash_in("copy")

    with pytest.raises(UsageError, match="rekey pause"):
        repaired(world)
    world.context.runs.set_state(world.run, RunState.PAUSED, only_from=RunState.RUNNING)
    with pytest.raises(UsageError, match="in hand"):
        repaired(world)
    assert lease.remaining() > 0
    world.later(31)

    assert repaired(world)["healed"] == 3
    world.context.runs.set_state(world.run, RunState.RUNNING, only_from=RunState.PAUSED)
    world.go()
    assert [world.get(number) for number in (1, 2, 3, 9)] == [b"v1"] * 4


def test_row_that_changes_before_the_switch_is_not_touched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is compared byte for byte under its lock; the others are switched (S5)."""
    migrated(world)
    restore(world)
    subject = subject_of(world)
    real = subject.assets.rows

    def rows(connection: Any, ids: Any, *, lock: bool = False) -> Any:  # noqa: ANN401 - as the method itself
        if lock:
            connection.execute(text("UPDATE assets SET object_key = 'up/mine.png' WHERE id = 2"))
        return real(connection, ids, lock=lock)

    monkeypatch.setattr(subject.assets, "rows", rows)
    work = workspace(world.folder)
    find(subject, work, **WHERE)
    done = heal(subject, work, **WHERE).as_object()
    work.close(remove=True)

    assert (done["healed"], done["not_switched"]) == (2, 1)
    assert [each["row_id"] for each in done["refused"]] == ["[2]"]
    assert world.key(1) == N1
    assert world.key(2) == "up/mine.png"


def test_row_that_the_database_refuses_is_listed_and_the_others_are_healed(tmp_path: Path, behaviour: Behaviour) -> None:
    """A trigger or a check: one by one, with the database's words."""
    world = World(tmp_path, behaviour, settings={"journal": True, "grace_seconds": 0})
    migrated(world)
    restore(world)
    world.sql(
        "CREATE TRIGGER no BEFORE UPDATE ON assets WHEN new.id = 2 AND new.object_key LIKE 'clients/%' "
        "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
    )

    done = repaired(world)

    assert (done["healed"], done["not_switched"]) == (2, 1)
    assert "not this one" in done["refused"][0]["detail"]


def test_journal_of_other_tables_and_foreign_objects_are_counted(world: World) -> None:
    """They heal nothing and stop nothing."""
    migrated(world, 1)
    restore(world, 1)
    (key,) = journal.keys(world.store)
    head, entries = journal.read(world.store, key)
    journal.write(world.store, dataclasses.replace(head, table="others"), entries, deadline=_Lease())
    journal.write(world.store, dataclasses.replace(head, table="public.assets"), entries, deadline=_Lease())
    world.store.app_put(".rekey/journal/x", b"foreign")

    done = repaired(world)

    assert (done["journal_objects"], done["journal_of_others"], done["journal_unreadable"], done["healed"]) == (2, 1, 1, 1)


class _Lease:
    def remaining(self) -> float:
        """Long enough."""
        return 60.0
