"""Why a run's last tick failed, kept beside the ledger for ``rekey status``: the tick itself could write nothing of it into the run."""

from __future__ import annotations

import json

from app.database import MICROSECONDS
from app.ledger.records import Run
from app.ledger.runs import RunLedger


def keep(runs: RunLedger, run: Run, why: str | None) -> None:
    """Keep *why*; None: ticks come through again."""
    runs.remember(_name(run), json.dumps({"at": runs.now(), "why": why}))


def find(runs: RunLedger, run: Run, *, now: int, within_seconds: float) -> str | None:
    """What the last failure was, if it is no older than *within_seconds*: the process that met it may have ended since."""
    kept = json.loads(runs.remembered(_name(run)) or "{}")
    return kept.get("why") if now - kept.get("at", 0) <= within_seconds * MICROSECONDS else None


def _name(run: Run) -> str:
    return f"tick:{run.id}"
