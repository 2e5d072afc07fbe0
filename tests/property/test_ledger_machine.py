"""The ledger against its plain model, a short run on SQLite; tests/contract/ledger has the longer ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.database import open_engine
from app.testing import ManualClock
from tests.builders import DatabaseClock, share_statements
from tests.property.ledger_machine import Ground, play

if TYPE_CHECKING:
    from pathlib import Path


def test_ledger_is_what_its_model_says(tmp_path: Path) -> None:
    """Whatever workers, reconciler and operators do, in any order (S6 to S9)."""
    engine = open_engine(f"sqlite:///{tmp_path}/ledger.db", may_create=True)
    share_statements(engine)
    clock = ManualClock()
    DatabaseClock(clock).install(engine)

    play(Ground.on(engine, clock), examples=15, steps=25)
    engine.dispose()
