"""Plans that were saved, for ``enqueue --plan``; and how fast runs went, for the next plan's estimate."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, func, insert, select

from app.database import MICROSECONDS, database_now, transaction
from app.errors import UsageError
from app.ledger.archiving import archived
from app.reflection import plain_name
from app.schema import moves, plans, runs
from app.states import RunKind, RunState

LEAST_ROWS = 100  # a run of fewer says little about a rate
RUNS_TRIED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPlan:
    """One plan as the ledger has it."""

    id: str
    bucket: str
    table_name: str
    settings: Mapping[str, Any]
    table_columns: Mapping[str, str]
    equivalence: Mapping[str, bool]
    content: Mapping[str, Any]
    fingerprint: Mapping[str, Any]
    created_at: int
    created_by: str
    version: str

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> SavedPlan:
        """Build a plan from a row of rekey_plans."""
        read = {name: json.loads(row[name]) for name in ("settings", "table_columns", "equivalence", "content", "fingerprint")}
        return cls(**{name: read.get(name, row[name]) for name in cls.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRate:
    """How fast a finished run switched its rows."""

    run_id: str
    rows: int
    rows_per_second: float


class PlanStore:
    """The rows of rekey_plans."""

    def __init__(self, engine: Engine) -> None:
        """Keep the engine; nothing is asked yet."""
        self.engine = engine

    def save(
        self,
        *,
        bucket: str,
        table_name: str,
        user: str,
        version: str,
        **documents: Mapping[str, Any],
    ) -> SavedPlan:
        """Keep a plan under a new id; *documents* are its JSON columns."""
        texts = {name: json.dumps(value, sort_keys=True) for name, value in documents.items()}
        plan_id = uuid.uuid4().hex
        with transaction(self.engine) as connection:
            connection.execute(
                insert(plans).values(
                    id=plan_id, bucket=bucket, table_name=table_name, created_by=user, version=version, created_at=database_now(), **texts
                )
            )
        return self.get(plan_id)

    def get(self, plan_id: str) -> SavedPlan:
        """The plan with this id, or the only one whose id begins so.

        Raises:
            UsageError: No plan, or several.
        """
        with transaction(self.engine, read_only=True) as connection:
            beginning = plans.c.id.startswith(plan_id, autoescape=True)
            found = [SavedPlan.from_row(dict(row)) for row in connection.execute(select(plans).where(beginning).limit(2)).mappings()]
        if len(found) != 1 or not plan_id:
            which = "several plans begin" if len(found) > 1 and plan_id else "no plan begins"
            raise UsageError(f"{which} with {plan_id!r}: `rekey plan` makes one and prints its id")
        return found[0]


def past_rate(engine: Engine, *, bucket: str, table_name: str) -> PastRate | None:
    """The rate of the last finished run on this bucket and table, else of the last on any; None where there is none to go by.

    Counted until its last row was switched: what comes after is mostly the grace.
    """
    with transaction(engine, read_only=True) as connection:
        ended = select(runs.c.no, runs.c.id, runs.c.created_at, runs.c.bucket, runs.c.table_name).where(
            runs.c.state == RunState.FINISHED, runs.c.kind == RunKind.MOVE
        )
        own = ended.where(runs.c.bucket == bucket, runs.c.table_name == plain_name(engine, table_name))
        for statement in (own, ended):
            for run in connection.execute(statement.order_by(runs.c.no.desc()).limit(RUNS_TRIED)).all():
                if archived(connection, run.id) is not None:
                    continue  # the times of its moves are in the bucket
                switched = select(func.count(), func.max(moves.c.switched_at)).where(moves.c.run_no == run.no)
                rows, last = connection.execute(switched.where(moves.c.switched_at.is_not(None))).one()
                if rows >= LEAST_ROWS and last > run.created_at:
                    seconds = (last - run.created_at) / MICROSECONDS
                    return PastRate(run_id=run.id, rows=rows, rows_per_second=rows / seconds)
    return None
