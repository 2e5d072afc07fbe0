"""The databases that the ledger is held to: one suite on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import inspect

from app.database import open_engine
from app.schema import create_ledger, metadata
from app.testing import InMemoryStore, ManualClock
from tests.builders import World, make_context, make_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from app.stages.context import Context

DATABASES = ("sqlite", "postgres", "mariadb")
SERVERS = ("postgres", "mariadb")
TABLE = "CREATE TABLE assets (id INTEGER PRIMARY KEY, client_id INTEGER, object_key VARCHAR(200), title VARCHAR(50))"


@pytest.fixture
def shape() -> Callable[[Engine], dict[str, Any]]:
    """How the ledger's tables of a database are made."""
    return _shape


def _shape(engine: Engine) -> dict[str, Any]:
    seen = inspect(engine)
    shape: dict[str, Any] = {}
    for table in metadata.tables:
        columns = {column["name"]: (str(column["type"]), column["nullable"]) for column in seen.get_columns(table)}
        unique = sorted(tuple(key["column_names"]) for key in seen.get_unique_constraints(table))
        indexes = sorted((tuple(index["column_names"]), bool(index["unique"])) for index in seen.get_indexes(table))
        checks = sorted(str(check["sqltext"]) for check in seen.get_check_constraints(table))
        shape[table] = (columns, seen.get_pk_constraint(table)["constrained_columns"], unique, indexes, checks)
    return shape


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty database of each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on an empty database with a ledger."""
    opened = open_engine(database_url, pool_size=12)
    create_ledger(opened)
    yield opened
    opened.dispose()


@pytest.fixture
def context(engine: Engine) -> Context:
    """The ledger's parts beside an empty assets table; the clock is set by the test."""
    with engine.begin() as connection:
        connection.exec_driver_sql(TABLE)
    clock = ManualClock()
    return make_context(engine, InMemoryStore(clock=clock), make_settings(), clock=clock)


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    """A whole world whose table lies in the database; time passes by ageing what the ledger has noted."""
    made = World(tmp_path, table=TABLE, url=database_url)
    yield made
    made.engine.dispose()
