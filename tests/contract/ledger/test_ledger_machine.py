"""The ledger against its plain model on the databases themselves, whose clock the test sets (S6 to S9)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from app.database import open_engine, transaction
from app.testing import ManualClock
from app.testing.requests import EPOCH
from tests.builders import DatabaseClock, share_statements
from tests.property.ledger_machine import Ground, play

if TYPE_CHECKING:
    from sqlalchemy import Engine

EXAMPLES = int(os.environ.get("LEDGER_EXAMPLES", "25"))  # of 40 steps: some 0.3 s each
CLOCK = """
CREATE TABLE the_clock (at DOUBLE PRECISION);
INSERT INTO the_clock VALUES (0);
CREATE FUNCTION public.clock_timestamp() RETURNS TIMESTAMPTZ LANGUAGE sql VOLATILE AS 'SELECT to_timestamp(at) FROM public.the_clock'
"""


def _sqlite(engine: Engine, clock: ManualClock) -> Ground:
    share_statements(engine)
    DatabaseClock(clock).install(engine)
    return Ground.on(engine, clock)


def _postgres(engine: Engine, clock: ManualClock) -> Ground:
    """Its ``clock_timestamp()`` is a function of the test's own, which stands before the built-in one on the search path."""
    with transaction(engine) as connection:
        for statement in CLOCK.split(";"):
            connection.exec_driver_sql(statement)
    engine.dispose()
    event.listen(
        engine, "connect", lambda connection, _: connection.execute("SET search_path = public, pg_catalog") and connection.commit()
    )

    def note_time() -> None:
        with transaction(engine) as connection:
            connection.exec_driver_sql(f"UPDATE the_clock SET at = {EPOCH + clock.boot()}")

    note_time()
    return Ground.on(engine, clock, note_time)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_ledger_is_what_its_model_says(kind: str, request: pytest.FixtureRequest) -> None:
    """Whatever workers, reconciler and operators do, in any order."""
    engine = open_engine(request.getfixturevalue(f"{kind}_url"))
    clock = ManualClock()
    ground = {"sqlite": _sqlite, "postgres": _postgres}[kind](engine, clock)

    play(ground, examples=EXAMPLES, steps=40)
    engine.dispose()
