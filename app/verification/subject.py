"""What is verified, and by what means: the same for every pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sqlalchemy import Engine

from app.assets import Assets
from app.clock import Clock
from app.errors import RowLockedError, TransientError
from app.fidelity_rules import Policy
from app.ledger.moves import MoveLedger
from app.ledger.records import Run
from app.ledger.runs import RunLedger
from app.object_store import ObjectStore
from app.planning import Rules

_Answer = TypeVar("_Answer")
PATIENCE = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds between the attempts at a question that was not answered


class Progress(Protocol):
    """Who is told how far a verification is."""

    def phase(self, name: str, total: int | None = None) -> None:
        """A new phase begins."""

    def advance(self, count: int) -> None:
        """So many more are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A table, its bucket, and a run where its ledger is to be checked too."""

    engine: Engine
    assets: Assets  # all rows, whatever the run's WHERE
    store: ObjectStore
    moves: MoveLedger
    runs: RunLedger
    rules: Rules
    run: Run | None
    has_ledger: bool  # a database restored from before `rekey init` has none
    settle_seconds: int
    policy: Policy  # what of its attributes an object may lose
    whole_table: bool  # the run selects all rows, so that one without a ledger row was not examined
    clock: Clock
    progress: Progress
    sleep: Callable[[float], None] = time.sleep

    def patiently(self, ask: Callable[[], _Answer]) -> _Answer:
        """Ask, and ask again where store or database do not answer.

        Raises:
            TransientError: Not even after half a minute.
        """
        for wait in PATIENCE:
            try:
                return ask()
            except RowLockedError:  # that has waited already
                raise
            except TransientError:
                self.sleep(wait)
        return ask()
