"""How drift is measured: exactly in a small table, by a sample in a large one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.database import transaction
from app.plan import drift
from app.plan.drift import Drift, RowSample, measure
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A table of ten rows."""
    world = World(tmp_path, settings={"where": "client_id = 7"})
    for number in range(1, 11):
        world.add(number, body=None)
    return world


def fingerprint(world: World) -> dict[str, object]:
    """What a plan keeps of the table as it is."""
    sample = RowSample()
    with transaction(world.engine, read_only=True) as connection:
        for row in world.context.assets.page(connection, after=None, limit=1000):
            sample.offer(world.context.rules.plan(row))
    return sample.fingerprint()


def drift_of(world: World, planned: dict[str, object]) -> Drift:
    """How far the table has moved away from it."""
    with transaction(world.engine, read_only=True) as connection:
        rows = world.context.assets.count(connection)
    return measure(planned, engine=world.engine, assets=world.context.assets, rules=world.context.rules, rows_now=rows)


@pytest.mark.parametrize(
    ("statement", "gone", "changed", "added"),
    [
        ("UPDATE assets SET title = 'other'", 0, 0, 0),
        ("UPDATE assets SET object_key = 'x' WHERE id = 1", 0, 0.1, 0),
        ("UPDATE assets SET client_id = 8 WHERE id IN (1, 2)", 0.2, 0, 0),
        ("DELETE FROM assets WHERE id < 4", 0.3, 0, 0),
        ("INSERT INTO assets (id, client_id, object_key) VALUES (11, 7, 'y')", 0, 0, 0.1),
        ("UPDATE assets SET id = 20 WHERE id = 1", 0.1, 0, 0.1),
        ("DELETE FROM assets", 1, 0, 0),
    ],
)
def test_drift_counts_rows_that_came_changed_and_went(world: World, statement: str, gone: float, changed: float, added: float) -> None:
    """What a run would do otherwise than planned; columns that it does not look at are no drift. A row that leaves WHERE is gone."""
    planned = fingerprint(world)
    world.sql(statement)
    found = drift_of(world, planned)

    assert (found.gone, found.changed, found.added) == pytest.approx((gone, changed, added))
    assert found.share == pytest.approx(gone + changed + added)


def test_sample_is_bounded_and_drift_is_estimated_from_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large table keeps so many rows and no more."""
    monkeypatch.setattr(drift, "SAMPLE_ROWS", 50)
    for number in range(11, 1001):
        world.add(number, body=None)
    planned = fingerprint(world)
    world.sql("DELETE FROM assets WHERE id > 500")
    found = drift_of(world, planned)

    assert (planned["rows"], len(planned["sample"])) == (1000, 50)  # type: ignore[arg-type]
    assert 0.2 < found.gone < 0.8
    assert found.rows_now == 500


def test_each_row_is_equally_likely_in_the_sample(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """The first rows of a table are not all that is looked at."""
    monkeypatch.setattr(drift, "SAMPLE_ROWS", 5)
    seen: set[str] = set()
    for _ in range(60):
        seen |= set(fingerprint(world)["sample"])  # type: ignore[call-overload]

    assert len(seen) == 10


def test_drift_of_an_empty_table_is_none_until_a_row_comes() -> None:
    """There is nothing to divide by."""
    assert Drift(rows_then=0, rows_now=0, gone=0, changed=0).share == 0
    assert Drift(rows_then=0, rows_now=1, gone=0, changed=0).share == 1


def test_drift_is_said_in_shares() -> None:
    """The line names what has happened, and nothing that has not."""
    assert str(Drift(rows_then=400, rows_now=402, gone=0.005, changed=0)) == "402 rows now, 400 then (1 % new, 0.5 % gone)"
    assert str(Drift(rows_then=4, rows_now=4, gone=0, changed=0)) == "4 rows now, 4 then"
