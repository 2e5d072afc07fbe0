"""Seeding the ledger: one page of rows, all or nothing, under a compare-and-swap of the run's cursor (H27)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, exc, select, text, update

from app.arrays import among
from app.database import MICROSECONDS, database_now, read_now, transaction
from app.errors import DatabaseUnavailableError
from app.ledger.inserting import insert_moves
from app.ledger.ladders import count_planned
from app.ledger.records import JOURNAL_MARK, Move, Run
from app.planning import Plan
from app.schema import moves, runs
from app.states import MoveState, ParkedReason, RunState

# Made once: a statement that holds a page's values is a cycle, and the collector, which comes rarely, had tens of MiB of them to find.
_KNOWN = select(moves.c.row_id).where(moves.c.run_no == bindparam("run"), among(moves.c.row_id, "row_ids"))
_LIVE = select(moves.c.live_hash).where(among(moves.c.live_hash, "wanted"))
_GROWN = (1, 10_000, 1_000_000)  # moves of a run at which the database's statistics are made anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What became of a page."""

    copy_ids: list[int]  # moves to copy now
    examined: int  # rows that got a ledger row by this page


def marked(run: Run, mark: str | None) -> dict[str, str]:
    """The columns of *run* that give it its mark, None: as it is.

    By the transaction that plans its first moves, so that whoever was too late for that has marked nothing.
    """
    return {} if mark is None else {"settings": json.dumps({**run.settings, JOURNAL_MARK: mark})}


def fresh_row(move: Move, now: int, *, first_stage: str, hint_us: int) -> dict[str, Any]:
    """A seeded move's row, whose message is about to be sent if it is planned; *now* is the database's clock, microseconds."""
    planned = move.state is MoveState.PLANNED
    return move.to_row() | {
        "live_hash": move.new_hash if planned and not move.follows else None,
        "stage": first_stage if planned else None,
        "lease_token": None,
        "lease_until": 0,
        "lease_kept": False,
        "not_before": 0,
        "due_at": now + hint_us,
        "hints": int(planned),
        "updated_at": now,
    }


def _of_plan(number: int, plan: Plan) -> dict[str, Any]:
    """The columns of a planned move that only its plan says."""
    return {
        "id": number,
        "row_id": plan.row_id,
        "client": plan.client,
        "old_key": plan.old_key,
        "new_key": plan.new_key,
        "old_hash": plan.old_hash,
        "new_hash": plan.new_hash,
        "live_hash": plan.new_hash,
    }


class PlanLedger:
    """Inserts pages of plans."""

    def __init__(self, engine: Engine, *, hint_seconds: float, first_stage: str) -> None:
        """Keep the engine; nothing is asked yet."""
        self.engine = engine
        self._first_stage = first_stage
        self._hint_us = int(hint_seconds * MICROSECONDS)

    def unplanned(self, connection: Connection, run: Run, row_ids: Sequence[str]) -> set[str]:
        """Those rows of a page that have no ledger row in this run yet."""
        known = connection.execute(_KNOWN, {"run": run.no, "row_ids": list(row_ids)}).scalars()
        return set(row_ids) - set(known)

    def insert_page(
        self,
        run: Run,
        plans: Sequence[Plan],
        *,
        in_place: set[str],
        cursor: str,
        grace_seconds: int,
        in_step: bool = False,
        mark: str | None = None,
    ) -> Planned | None:
        """Write one page's moves and advance the cursor from where *run* has it.

        *in_place*: row ids whose object was seen at the new key. A plan for a new key that a live move wants already is
        parked as a collision, with a ledger row of its own (H25), or planned for the key with a suffix where it has one.
        *in_step*: the run has steps, and what is planned counts for the one that it is at. *mark*: the run's from now on.

        Returns:
            None if another seed advanced the cursor first: nothing was written.
        """
        page: dict[str, Any] = {"in_place": in_place, "grace_seconds": grace_seconds, "in_step": in_step}
        advanced = {"seed_cursor": cursor, **marked(run, mark)}
        try:
            planned = self._insert(run, plans, advanced, **page)
        except exc.IntegrityError:
            # A move of another run took one of the new keys in between: it is seen now.
            planned = self._insert(run, plans, advanced, **page)
        if planned and any(run.next_move <= size < run.next_move + planned.examined for size in _GROWN):
            self._analyze()
        return planned

    def _analyze(self) -> None:
        """Let PostgreSQL know how large the ledger has become: without statistics it looks each move up by reading the whole run."""
        if self.engine.dialect.name == "postgresql":
            with suppress(DatabaseUnavailableError), transaction(self.engine) as connection:  # autovacuum does the same, minutes later
                connection.execute(text(f"ANALYZE {moves.name}"))

    def _insert(
        self, run: Run, plans: Sequence[Plan], advanced: Mapping[str, Any], *, in_place: set[str], grace_seconds: int, in_step: bool
    ) -> Planned | None:
        with transaction(self.engine) as connection:
            fresh = connection.execute(
                update(runs)
                .where(runs.c.no == run.no, runs.c.seed_pass == run.seed_pass, runs.c.seed_done.is_(False))
                .where(runs.c.state == RunState.RUNNING)  # a page that is late must not open moves in a run that was cancelled, and ended
                .where(runs.c.seed_cursor.is_(None) if run.seed_cursor is None else runs.c.seed_cursor == run.seed_cursor)
                .values(**advanced, seed_due_at=database_now() + self._hint_us)
            )
            if fresh.rowcount != 1:
                return None
            next_move = connection.execute(select(runs.c.next_move).where(runs.c.no == run.no).with_for_update()).scalar_one()
            wanted = [hashed for plan in plans if plan.reason is None for hashed in (plan.new_hash, plan.own_hash) if hashed is not None]
            live = connection.execute(_LIVE, {"wanted": wanted}).scalars()
            taken = {bytes(value) for value in live}
            now = read_now(connection)
            rows, copy_ids = [], []
            form: dict[str, Any] = {}  # of the moves that are simply planned, nearly all of a page: they differ in what their plan says
            for number, plan in enumerate(plans, start=next_move):
                chosen = plan.with_own_key() if plan.new_hash in taken else plan
                plain = chosen.reason is None and not chosen.in_place and chosen.new_hash not in taken
                if plain and form:
                    row = form | _of_plan(number, chosen)
                else:
                    row = self._row(
                        run, number, chosen, now, grace_seconds=grace_seconds, seen=plan.row_id in in_place, taken=chosen.new_hash in taken
                    )
                    form = row if plain else form
                if row["state"] == MoveState.PLANNED:
                    taken.add(chosen.new_hash)
                    copy_ids.append(number)
                rows.append(row)
            insert_moves(connection, rows)
            counted = {"next_move": next_move + len(rows), "seed_planned": runs.c.seed_planned + len(copy_ids)}
            connection.execute(update(runs).where(runs.c.no == run.no).values(counted))
            if in_step and copy_ids:
                count_planned(connection, run, len(copy_ids))
            return Planned(copy_ids=copy_ids, examined=len(rows))

    def _row(self, run: Run, number: int, plan: Plan, now: int, *, grace_seconds: int, seen: bool, taken: bool) -> dict[str, Any]:
        state, reason, detail = MoveState.PLANNED, plan.reason, plan.detail
        if reason is None and plan.in_place and seen:
            state = MoveState.IN_PLACE
        elif reason is None and taken:
            reason, detail = ParkedReason.COLLISION, "another asset of this run gets the same new key"
        if reason is not None:
            state = MoveState.PARKED
        move = Move(
            run_no=run.no,
            id=number,
            row_id=plan.row_id,
            client=plan.client,
            generation=1,
            old_key=plan.old_key,
            new_key=plan.new_key,
            old_hash=plan.old_hash,
            new_hash=plan.new_hash,
            state=state,
            parked_from=MoveState.PLANNED if reason else None,
            reason=reason,
            detail=detail,
            grace_seconds=grace_seconds,
        )
        return fresh_row(move, now, first_stage=self._first_stage, hint_us=self._hint_us)

    def end_pass(self, run: Run, *, max_passes: int) -> bool:
        """Close the pass that *run* is in: begin the next one, or finish seeding when nothing was planned or all passes are done.

        Returns:
            Whether another pass begins.
        """
        with transaction(self.engine) as connection:
            current = connection.execute(
                select(runs.c.seed_pass, runs.c.seed_planned, runs.c.seed_done).where(runs.c.no == run.no).with_for_update()
            ).one()
            if current.seed_pass != run.seed_pass or current.seed_done:
                return not bool(current.seed_done)
            again = bool(current.seed_planned > 0 and current.seed_pass < max_passes)
            values = {"seed_pass": run.seed_pass + 1, "seed_cursor": None, "seed_planned": 0} if again else {"seed_done": True}
            connection.execute(update(runs).where(runs.c.no == run.no).values(**values, seed_due_at=database_now() + self._hint_us))
            return again

    def seed_due_now(self, run: Run) -> None:
        """Let the reconciler restart the seed at its next tick."""
        with transaction(self.engine) as connection:
            connection.execute(update(runs).where(runs.c.no == run.no).values(seed_due_at=0))
