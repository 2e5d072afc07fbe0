"""Which switched assets the operator's own stage still has to see (app.stages.own_stage): a row each, until it has."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from app.arrays import among
from app.database import MICROSECONDS, database_now, read_now, transaction
from app.ledger.records import Run
from app.schema import visits

MOST_FIGURES = 100_000  # that a report counts


class VisitLedger:
    """The rows of rekey_visits."""

    def __init__(self, engine: Engine) -> None:
        """Keep the engine; nothing is asked yet."""
        self.engine = engine

    def take_due(self, run: Run, *, limit: int, again_seconds: float) -> list[int]:
        """Up to *limit* moves that are to be seen now; each is due again after so long, should its message get lost."""
        with transaction(self.engine) as connection:
            now = read_now(connection)
            due = (visits.c.run_no == run.no, visits.c.due_at <= now)
            ids = list(connection.execute(select(visits.c.move_id).where(*due).order_by(visits.c.move_id).limit(limit)).scalars())
            if ids:
                later = {"due_at": now + int(again_seconds * MICROSECONDS)}
                connection.execute(update(visits).where(*due, among(visits.c.move_id, ids)).values(later))
            return ids

    def done(self, run: Run, seen: Mapping[int, str | None]) -> None:
        """These were seen as ``open_of`` gave them; one that was switched again since is to be seen again."""
        by_mark: dict[str | None, list[int]] = {}
        for move_id, mark in seen.items():
            by_mark.setdefault(mark, []).append(move_id)
        with transaction(self.engine) as connection:
            for mark, ids in by_mark.items():
                marked = visits.c.detail.is_(None) if mark is None else visits.c.detail == mark
                connection.execute(delete(visits).where(visits.c.run_no == run.no, among(visits.c.move_id, ids), marked))

    def failed(self, run: Run, ids: Collection[int], *, detail: str, wait_seconds: float, most: int | None) -> int:
        """The stage has failed on these: they are due again after a while, or given up after *most* tries.

        Returns:
            How many were given up.
        """
        mine = (visits.c.run_no == run.no, among(visits.c.move_id, ids))
        with transaction(self.engine) as connection:
            later = {"tries": visits.c.tries + 1, "detail": detail, "due_at": database_now() + int(wait_seconds * MICROSECONDS)}
            connection.execute(update(visits).where(*mine).values(later))
            if most is None:
                return 0
            return connection.execute(delete(visits).where(*mine, visits.c.tries >= most)).rowcount

    def open_of(self, run: Run, ids: Sequence[int]) -> dict[int, str | None]:
        """Those of *ids* that are still to be seen, each with a mark of the switch that it is to be seen for, or of its last failure."""
        with transaction(self.engine, read_only=True) as connection:
            here = (visits.c.run_no == run.no, among(visits.c.move_id, ids))
            return {row.move_id: row.detail for row in connection.execute(select(visits.c.move_id, visits.c.detail).where(*here))}

    def is_open(self, run: Run) -> bool:
        """Whether any is."""
        with transaction(self.engine, read_only=True) as connection:
            first = select(visits.c.move_id).where(visits.c.run_no == run.no).order_by(visits.c.move_id).limit(1)
            return connection.execute(first).first() is not None

    def figures(self, run: Run) -> dict[str, Any]:
        """left, failing (tried in vain before), and why; of very many, the first ones."""
        first = select(visits.c.tries, visits.c.detail).where(visits.c.run_no == run.no).limit(MOST_FIGURES).subquery()
        with transaction(self.engine, read_only=True) as connection:
            left = int(connection.execute(select(func.count()).select_from(first)).scalar_one())
            failing, detail = connection.execute(select(func.count(), func.max(first.c.detail)).where(first.c.tries > 0)).one()
        return {"left": left, "failing": int(failing), "detail": detail}


def add_visits(connection: Connection, run: Run, ids: Sequence[int]) -> None:
    """These moves are switched, within the transaction that does so; one that was switched before is to be seen once more."""
    if ids:
        connection.execute(delete(visits).where(visits.c.run_no == run.no, among(visits.c.move_id, ids)))
        fresh = {"run_no": run.no, "due_at": 0, "tries": 0, "detail": secrets.token_hex(8)}
        connection.execute(insert(visits), [fresh | {"move_id": move_id} for move_id in ids])
