"""The ledger's tables: made by us or by a DBA, they are the same and keep the same values."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, create_engine, exc, select, text, update

from app import schema
from app.database import open_engine, transaction
from app.errors import UsageError
from app.schema import meta, moves, runs
from app.states import MoveState, RunState
from tests.builders import make_plan, make_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.stages.context import Context


def test_printed_statements_make_the_same_tables(database_url: str, shape: Callable[[Engine], dict[str, Any]]) -> None:
    """A DBA runs what `rekey init --sql` prints, one statement after the other."""
    by_us = open_engine(database_url)
    schema.create_ledger(by_us)
    expected = shape(by_us)
    with by_us.begin() as connection:
        for table in schema.metadata.tables:
            connection.exec_driver_sql(f"DROP TABLE {table}")
    by_hand = create_engine(database_url)
    with by_hand.begin() as connection:
        for statement in schema.ledger_ddl(schema.dialect_of(database_url)):
            connection.exec_driver_sql(statement.rstrip(";"))
    found = shape(by_hand)
    by_hand.dispose()

    assert found == expected
    with transaction(by_us, read_only=True) as connection:
        assert len(schema.deployment(connection)) == 32
    assert schema.create_ledger(by_us) is False
    by_us.dispose()


def test_making_the_ledger_again_keeps_what_is_there(engine: Engine) -> None:
    """`rekey init` is safe to repeat: the deployment's mark stays."""
    with transaction(engine, read_only=True) as connection:
        before = schema.deployment(connection)
    assert schema.create_ledger(engine) is False

    with transaction(engine, read_only=True) as connection:
        assert schema.deployment(connection) == before


def test_missing_ledger_is_said_with_the_remedy(database_url: str) -> None:
    """Production issues no DDL by itself."""
    bare = open_engine(database_url)
    with transaction(bare, read_only=True) as connection, pytest.raises(UsageError, match="rekey init"):
        schema.deployment(connection)
    bare.dispose()


def test_ledger_of_another_version_is_refused(engine: Engine) -> None:
    """Two programs of different ages never share a ledger."""
    with transaction(engine) as connection:
        connection.execute(update(meta).where(meta.c.name == "schema_version").values(value="99"))

    with transaction(engine, read_only=True) as connection, pytest.raises(UsageError, match="99"):
        schema.deployment(connection)


@pytest.mark.parametrize(("column", "values"), [(runs.c.state, RunState), (moves.c.state, MoveState)], ids=["run", "move"])
def test_database_takes_exactly_the_states_of_the_program(context: Context, column: Any, values: type[RunState | MoveState]) -> None:  # noqa: ANN401
    """The enum and the constraint list the same values."""
    run = make_run(context)
    context.plans.insert_page(run, [make_plan(1, rules=context.rules)], in_place=set(), cursor="[1]", grace_seconds=0)
    for value in values:
        with transaction(context.runs.engine) as connection:
            connection.execute(update(column.table).values({column.name: value}))
            assert connection.execute(select(column)).scalar_one() == value
    for value in ("", "gone", str(next(iter(values))).upper() + "X"):
        with pytest.raises(exc.DBAPIError), transaction(context.runs.engine) as connection:
            connection.execute(update(column.table).values({column.name: value}))


def test_two_that_make_the_ledger_at_once_end_with_one(database_url: str) -> None:
    """Two hosts run `rekey init` at the same moment: at worst one is told to try again, and the mark is one."""
    engines = [open_engine(database_url) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(schema.create_ledger, engine) for engine in engines]
        failed = [future for future in futures if future.exception() is not None]
    schema.create_ledger(engines[0])

    assert len(failed) <= 1
    with engines[0].connect() as connection:
        marks = connection.execute(text("SELECT value FROM rekey_meta WHERE name = 'deployment'")).scalars().all()
    assert len(marks) == 1
    for engine in engines:
        engine.dispose()
