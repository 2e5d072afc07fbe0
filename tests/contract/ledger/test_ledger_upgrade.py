"""A ledger that an earlier version made, with a run under way in it, serves this version after `rekey init`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import MetaData, Table, inspect, select, text

from app import schema
from app.database import open_engine, transaction
from app.errors import UsageError
from app.fidelity_rules import Attribute
from app.ledger.losses import LossLedger
from app.states import MoveState
from app.testing.versions import LIKE_MINIO
from tests.builders import World
from tests.contract.ledger.conftest import TABLE
from tests.contract.ledger.former_schemas import DEPLOYMENT, statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine

FORMER = ("2", "3", "4")
COOL = {"x-amz-storage-class": "STANDARD_IA"}


class _FormerWorld(World):
    """A world whose ledger is of the *former* version, until somebody runs `rekey init`."""

    former = FORMER[0]

    def _make_tables(self) -> None:
        with transaction(self.engine) as connection:
            for statement in (self.table, *statements(self.engine.dialect.name, self.former)):
                connection.execute(text(statement))
        schema.metadata.create_all(self.engine)  # what this program asks for, and a worker of that time did not

    def be_former(self) -> None:
        """Leave only the tables that there were."""
        for version, table in schema._ADDED:
            if version > self.former:
                table.drop(self.engine)


@pytest.fixture(params=FORMER)
def former(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Iterator[World]:
    """A run in the middle, as far as a worker of that time had brought it: one move at each step, and one in a dead worker's hand."""
    kind = type("Former", (_FormerWorld,), {"former": request.param})
    world: _FormerWorld = kind(tmp_path, replace(LIKE_MINIO, denies=frozenset({Attribute.STORAGE_CLASS})), TABLE, url=database_url)
    for number in range(1, 5):
        world.add(number)
    world.seed()
    world.do("copy", [1, 2])
    world.do("rename", [1])
    world.crash_in("copy", [3])
    world.be_former()
    yield world
    world.engine.dispose()


def _rows(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    found = {}
    with transaction(engine, read_only=True) as connection:
        for name in inspect(connection).get_table_names():
            table = Table(name, MetaData(), autoload_with=connection)
            rows = connection.execute(select(table)).mappings()
            found[name] = sorted((dict(row) for row in rows if row.get("name") != "schema_version"), key=repr)
    return found


def test_upgrade_changes_nothing_that_is_there(former: World) -> None:
    """Only whole tables are added; the mark of the deployment stays, so that messages under way stay good."""
    before = _rows(former.engine)
    assert {"rekey_moves", "rekey_runs"} <= before.keys()
    assert schema.create_ledger(former.engine) is True
    after = _rows(former.engine)

    assert {name: after[name] for name in before} == before
    assert all(after[name] == [] for name in after.keys() - before.keys())
    with transaction(former.engine, read_only=True) as connection:
        assert schema.deployment(connection) == DEPLOYMENT
    assert schema.create_ledger(former.engine) is False


def test_run_under_way_goes_on_after_the_upgrade(former: World) -> None:
    """What an earlier version has begun this one ends, and what copies lose from now on is on record."""
    former.store.app_put("up/4.png", b"v1", COOL)
    schema.create_ledger(former.engine)
    former.go()

    assert {move.state for move in former.moves()} == {MoveState.DELETED}
    assert {former.get(number) for number in range(1, 5)} == {b"v1"}
    assert LossLedger(former.engine).count(former.run).attributes == {"storage_class": 1}


def test_program_that_comes_before_the_upgrade_is_sent_to_init(former: World) -> None:
    """It does nothing on tables that lack something."""
    with transaction(former.engine, read_only=True) as connection, pytest.raises(UsageError, match="run `rekey init`"):
        schema.deployment(connection)


@pytest.mark.parametrize("version", FORMER)
def test_worker_of_an_earlier_version_that_starts_after_the_upgrade_is_refused(
    world: World, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would not note what its copies lose."""
    monkeypatch.setattr(schema, "SCHEMA_VERSION", version)
    with transaction(world.engine, read_only=True) as connection, pytest.raises(UsageError, match="are of version 5"):
        schema.deployment(connection)
    with pytest.raises(UsageError, match="are of version 5"):
        schema.create_ledger(world.engine)


@pytest.mark.parametrize("by", ["init", "DBA"])
@pytest.mark.parametrize("version", FORMER)
def test_upgraded_tables_are_as_new_ones(database_url: str, version: str, by: str, shape: Callable[[Engine], dict[str, Any]]) -> None:
    """Column by column, with all keys, indexes and checks; by us, or by a DBA with what `rekey init --sql --since` prints."""
    engine = open_engine(database_url)
    schema.create_ledger(engine)
    expected = shape(engine)
    with engine.begin() as connection:
        for table in schema.metadata.tables:
            connection.exec_driver_sql(f"DROP TABLE {table}")
        for statement in statements(engine.dialect.name, version):
            connection.execute(text(statement))
        for statement in schema.upgrade_ddl(engine.dialect, version) if by == "DBA" else ():
            connection.exec_driver_sql(statement.rstrip(";"))
    assert schema.create_ledger(engine) is (by == "init")
    found = shape(engine)
    engine.dispose()

    assert found == expected
