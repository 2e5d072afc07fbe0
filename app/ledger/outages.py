"""That a worker stands before an object store that gives it nothing: a record a run in rekey_meta, of the last one that has seen it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from sqlalchemy import Engine, delete

from app.database import transaction
from app.ledger.records import Run
from app.ledger.runs import RunLedger
from app.schema import meta


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """What a worker of *stage* was told *at* that time (UTC microseconds): *kind* in words, and the *detail* of its request."""

    stage: str
    kind: str
    detail: str
    at: int


class OutageLedger:
    """The record, which whoever is served again takes away; another worker that still is not writes it anew."""

    def __init__(self, engine: Engine) -> None:
        """Keep the engine; nothing is asked yet."""
        self.engine = engine

    def find(self, run: Run) -> Outage | None:
        """The last one, if it is not known to be over."""
        found = RunLedger(self.engine).remembered(_name(run))
        return Outage(**json.loads(found)) if found else None

    def note(self, run: Run, *, stage: str, kind: str, detail: str) -> None:
        """A worker of *stage* has just seen it."""
        known = RunLedger(self.engine)
        known.remember(_name(run), json.dumps(asdict(Outage(stage=stage, kind=kind, detail=detail, at=known.now()))))

    def end(self, run: Run) -> None:
        """A worker is served."""
        with transaction(self.engine) as connection:
            connection.execute(delete(meta).where(meta.c.name == _name(run)))


def _name(run: Run) -> str:
    return f"outage:{run.id}"
