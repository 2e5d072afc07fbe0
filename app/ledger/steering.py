"""What an operator wishes of a run while it runs: rest, end, other speed, no deletes. Workers read it here (section 3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, case, exc, insert, select, update

from app.database import MICROSECONDS, read_now, transaction
from app.ledger.records import Run
from app.schema import runs, throttles, turns
from app.states import RunState

_WISHES = (
    select(runs.c.state, runs.c.knobs, throttles.c.rates)
    .outerjoin(throttles, throttles.c.run_no == runs.c.no)
    .where(runs.c.no == bindparam("run"))
)


_BOUND = "max_deletes"  # the line in rekey_turns that counts how often that bound was set


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """So many deletes that --max-deletes allowed, and which bound that was: how often one had been set by then."""

    moves: int
    bound: int


class SteerLedger:
    """The steerable columns of rekey_runs, and rekey_turns."""

    def __init__(self, engine: Engine) -> None:
        """Keep the engine; nothing is asked yet."""
        self.engine = engine

    def wishes(self, run: Run) -> tuple[RunState, dict[str, Any], dict[str, int]]:
        """The run's state now, what was set since its start, and the rates that the reconciler has decided."""
        with transaction(self.engine, read_only=True) as connection:
            state, knobs, rates = connection.execute(_WISHES, {"run": run.no}).one()
            return RunState(state), json.loads(knobs), json.loads(rates or "{}")

    def set_knobs(self, run: Run, knobs: Mapping[str, Any]) -> dict[str, Any]:
        """Lay *knobs* over those of the run; workers go by them from their next message on.

        Returns:
            All knobs of the run.
        """
        with transaction(self.engine) as connection:
            known = connection.execute(select(runs.c.knobs).where(runs.c.no == run.no).with_for_update()).scalar_one()
            together: dict[str, Any] = json.loads(known) | dict(knobs)
            connection.execute(update(runs).where(runs.c.no == run.no).values(knobs=json.dumps(together, sort_keys=True)))
            return together

    def hold(self, run: Run, *, hold: bool) -> None:
        """Hold the deletes of the run, or do so no more; takes effect at the next look at each old object."""
        with transaction(self.engine) as connection:
            connection.execute(update(runs).where(runs.c.no == run.no).values(hold_deletes=hold))

    def allow_deletes(self, run: Run, most: int | None) -> None:
        """Let the run delete so many old objects from now on; None: all."""
        with transaction(self.engine) as connection:
            connection.execute(update(runs).where(runs.c.no == run.no).values(deletes_left=most))  # and locked: one after the other
            times = self._bounds_set(connection, run)
            if times:
                mine = (turns.c.run_no == run.no, turns.c.stage == _BOUND)
                connection.execute(update(turns).where(*mine).values(next_at=times + 1))
            else:
                connection.execute(insert(turns).values(run_no=run.no, stage=_BOUND, next_at=1))

    def take_deletes(self, run: Run, wanted: int) -> Grant:
        """Of *wanted* deletes, how many the run's --max-deletes still allows; those are taken off it before they are sent."""
        with transaction(self.engine) as connection:
            left = connection.execute(select(runs.c.deletes_left).where(runs.c.no == run.no).with_for_update()).scalar_one()
            granted: int = wanted if left is None else min(wanted, max(0, left))
            if granted and left is not None:
                connection.execute(update(runs).where(runs.c.no == run.no).values(deletes_left=left - granted))
            return Grant(moves=granted, bound=self._bounds_set(connection, run))

    def give_deletes_back(self, run: Run, grant: Grant, moves: int) -> None:
        """Allow *moves* of those that were granted again, which were not deleted; not on top of a bound that was set since."""
        with transaction(self.engine) as connection:
            left = connection.execute(select(runs.c.deletes_left).where(runs.c.no == run.no).with_for_update()).scalar_one()
            if left is not None and self._bounds_set(connection, run) == grant.bound:
                connection.execute(update(runs).where(runs.c.no == run.no).values(deletes_left=left + moves))

    def next_turns(self, run: Run) -> dict[str, int]:
        """By line, when the next moves may go under the rate that was set for it (UTC microseconds): it is used up until then."""
        mine = select(turns.c.stage, turns.c.next_at).where(turns.c.run_no == run.no, turns.c.stage != _BOUND)
        with transaction(self.engine, read_only=True) as connection:
            return {stage: int(at) for stage, at in connection.execute(mine)}

    @staticmethod
    def _bounds_set(connection: Connection, run: Run) -> int:
        """How often --max-deletes was set while the run was under way."""
        times = select(turns.c.next_at).where(turns.c.run_no == run.no, turns.c.stage == _BOUND)
        return int(connection.execute(times).scalar_one_or_none() or 0)

    def hasten(self, run: Run, *, seconds: float) -> None:
        """Let the next reconciler that comes pass, as if the last one had been so long ago; both of its clocks say so (H16)."""
        ago = int(seconds * MICROSECONDS)
        boot = case((runs.c.tick_boot > ago, runs.c.tick_boot - ago), else_=0)  # 0: not known
        with transaction(self.engine) as connection:
            connection.execute(update(runs).where(runs.c.no == run.no).values(tick_at=runs.c.tick_at - ago, tick_boot=boot))

    def give_back(self, run: Run, *, stage: str, moves: int, rate: int) -> None:
        """Let others have the turns of *moves*, which turned out not to be due."""
        less = turns.c.next_at - int(moves / rate * MICROSECONDS)
        with transaction(self.engine) as connection:
            connection.execute(update(turns).where(turns.c.run_no == run.no, turns.c.stage == stage).values(next_at=less))

    def turn(self, run: Run, *, stage: str, moves: int, rate: int, patience: float) -> float:
        """Seconds until *moves* may go, so that all workers together keep *rate* a second; reserved if that is at most *patience*."""
        mine = (turns.c.run_no == run.no, turns.c.stage == stage)
        with transaction(self.engine) as connection:
            now = read_now(connection)
            next_at = connection.execute(select(turns.c.next_at).where(*mine).with_for_update()).scalar_one_or_none()
            start = max(now, next_at or 0)
            wait = (start - now) / MICROSECONDS
            if wait > patience:
                return wait
            after = start + int(moves / rate * MICROSECONDS)
            if next_at is not None:
                connection.execute(update(turns).where(*mine).values(next_at=after))
                return wait
        try:
            with transaction(self.engine) as connection:
                connection.execute(insert(turns).values(run_no=run.no, stage=stage, next_at=after))
        except exc.IntegrityError:  # another worker was first: the next turn is after its
            return self.turn(run, stage=stage, moves=moves, rate=rate, patience=patience)
        return wait
