"""What holds runs back, as the reconciler decides it, and what workers note for that decision."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Engine, exc, func, insert, select, update

from app.database import database_now, transaction
from app.gauge import Reading
from app.ledger.records import Run
from app.schema import TOOK, runs, tallies, throttles
from app.states import RunState

_TAKEN = " taken"  # after a stage's name: its other tally, of the moves that it took up, whatever came of them
RECONCILER = "reconcile"  # its tally, beside the stages': moves that it has sent a message for, and (failed) leases that it found lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Tallied:
    """What a stage has done: outcomes, those that were failures, moves that it took up (for looks too), how the store answered it."""

    outcomes: int = 0
    failed: int = 0
    taken: int = 0
    store: Reading = field(default_factory=Reading)

    def __sub__(self, before: Tallied) -> Tallied:
        """What was done since *before*."""
        return Tallied(
            outcomes=self.outcomes - before.outcomes,
            failed=self.failed - before.failed,
            taken=self.taken - before.taken,
            store=self.store - before.store,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """What is decided of a run.

    *rates*: most moves a second, by stage; 0 for the seed: none. *causes*: why, by stage, in words. *rests*: the cause for which the
    reconciler has paused the run; *why*: that in words. *memory*: what the rules go by at the next tick.
    """

    rates: Mapping[str, int] = field(default_factory=dict)
    causes: Mapping[str, str] = field(default_factory=dict)
    rests: str | None = None
    why: str | None = None
    memory: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """When workers of each stage last noted an outcome, and moves that they took up, looks included (UTC microseconds)."""

    outcomes: Mapping[str, int] = field(default_factory=dict)
    taken: Mapping[str, int] = field(default_factory=dict)

    def of(self, stage: str) -> int:
        """When that stage was last at work."""
        return max(self.outcomes.get(stage, 0), self.taken.get(stage, 0))

    @property
    def last(self) -> int:
        """When any of them was."""
        return max((*self.outcomes.values(), *self.taken.values()), default=0)


class ThrottleLedger:
    """The rows of rekey_throttles, one a run, and of rekey_tallies, one a run, worker and stage."""

    def __init__(self, engine: Engine) -> None:
        """Keep the engine; nothing is asked yet."""
        self.engine = engine

    def find(self, run: Run) -> Throttle:
        """What is decided."""
        with transaction(self.engine, read_only=True) as connection:
            row = connection.execute(select(throttles).where(throttles.c.run_no == run.no)).mappings().one_or_none()
        if row is None:
            return Throttle()
        told = {name: json.loads(row[name]) for name in ("rates", "causes", "memory")}
        return Throttle(**told, rests=row["rests"], why=row["why"])

    def decide(self, run: Run, now: Throttle) -> None:
        """Replace what is decided."""
        with transaction(self.engine) as connection:
            _write(connection, run, now)

    def rest(self, run: Run, now: Throttle) -> bool:
        """Decide *now*, which rests the run, and pause it; False, and nothing, if it is not running any more."""
        with transaction(self.engine) as connection:
            if not _set_state(connection, run, RunState.PAUSED, only_from=RunState.RUNNING):
                return False
            _write(connection, run, now)
            return True

    def go_on(self, run: Run) -> bool:
        """What the reconciler has paused the run for is over; False if an operator decides of it by now."""
        with transaction(self.engine) as connection:
            if not _set_state(connection, run, RunState.RUNNING, only_from=RunState.PAUSED):
                return False
            resting = (throttles.c.run_no == run.no, throttles.c.rests.is_not(None))
            if connection.execute(update(throttles).where(*resting).values(rests=None, why=None)).rowcount:
                return True
            _set_state(connection, run, RunState.PAUSED, only_from=RunState.RUNNING)
            return False

    def hand_over(self, run: Run) -> None:
        """The operator decides from now on whether the run rests; what has failed so far was seen."""
        with transaction(self.engine) as connection:
            row = connection.execute(select(throttles.c.memory).where(throttles.c.run_no == run.no).with_for_update()).one_or_none()
            if row is not None:
                memory = json.dumps({**json.loads(row.memory), "windows": {}}, sort_keys=True)
                connection.execute(update(throttles).where(throttles.c.run_no == run.no).values(rests=None, why=None, memory=memory))

    def note(self, run: Run, *, worker: str, stage: str, done: Tallied) -> None:
        """Add what a worker has done to its tallies."""
        if done.taken:
            self._add(run, worker, f"{stage}{_TAKEN}", Tallied(outcomes=done.taken))
        self._add(run, worker, stage, done)

    def _add(self, run: Run, worker: str, stage: str, done: Tallied) -> None:
        mine = (tallies.c.run_no == run.no, tallies.c.worker == worker, tallies.c.stage == stage)
        counted = {
            "outcomes": done.outcomes,
            "failed": done.failed,
            "requests": done.store.requests,
            "slow_downs": done.store.slow_downs,
            "store_us": done.store.microseconds,
            **dict(zip(TOOK, done.store.buckets, strict=True)),
        }
        more: dict[str, Any] = {name: tallies.c[name] + value for name, value in counted.items()}
        if done.outcomes:
            more["noted_at"] = database_now()
        with transaction(self.engine, single=True) as connection:
            if connection.execute(update(tallies).where(*mine).values(more)).rowcount:
                return
        values = {"run_no": run.no, "worker": worker, "stage": stage, "noted_at": database_now() if done.outcomes else 0, **counted}
        try:
            with transaction(self.engine) as connection:
                connection.execute(insert(tallies).values(values))
        except exc.IntegrityError:  # another thread of this worker was faster
            with transaction(self.engine) as connection:
                connection.execute(update(tallies).where(*mine).values(more))

    def acted_at(self, run: Run) -> Acted:
        """When the stages' workers last noted that something came of their work."""
        latest = select(tallies.c.stage, func.max(tallies.c.noted_at)).where(tallies.c.run_no == run.no, tallies.c.stage != RECONCILER)
        outcomes: dict[str, int] = {}
        taken: dict[str, int] = {}
        with transaction(self.engine, read_only=True) as connection:
            for tally, at in connection.execute(latest.group_by(tallies.c.stage)):
                stage = tally.removesuffix(_TAKEN)
                (outcomes if tally == stage else taken)[stage] = int(at)
        return Acted(outcomes=outcomes, taken=taken)

    def tallied(self, run: Run) -> dict[str, Tallied]:
        """What all workers have done so far, by stage."""
        sums = [func.sum(tallies.c[name]) for name in ("outcomes", "failed", "requests", "slow_downs", "store_us", *TOOK)]
        with transaction(self.engine, read_only=True) as connection:
            rows = connection.execute(select(tallies.c.stage, *sums).where(tallies.c.run_no == run.no).group_by(tallies.c.stage)).all()
        found: dict[str, Tallied] = {}
        for tally, *counts in rows:
            outcomes, failed, requests, slow_downs, microseconds, *buckets = map(int, counts)
            stage = tally.removesuffix(_TAKEN)
            known = found.get(stage, Tallied())
            if tally != stage:
                found[stage] = replace(known, taken=outcomes)
            else:
                store = Reading(requests, slow_downs, microseconds, tuple(buckets))
                found[stage] = replace(known, outcomes=outcomes, failed=failed, store=store)
        return found


def _write(connection: Connection, run: Run, now: Throttle) -> None:
    told: dict[str, Any] = {name: json.dumps(getattr(now, name), sort_keys=True) for name in ("rates", "causes", "memory")}
    told |= {"rests": now.rests, "why": now.why}
    if connection.execute(update(throttles).where(throttles.c.run_no == run.no).values(told)).rowcount == 0:
        connection.execute(insert(throttles).values(run_no=run.no, **told))


def _set_state(connection: Connection, run: Run, state: RunState, *, only_from: RunState) -> bool:
    return connection.execute(update(runs).where(runs.c.no == run.no, runs.c.state == only_from).values(state=state)).rowcount == 1
