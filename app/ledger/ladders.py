"""At which step a run is, of those in which it comes to all of its rows. In the ledger, so that no restart and no lost message changes it.

Steps change under a lock on the run, together with what the seed goes by: a seed of the step before is then refused by its pass.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update

from app.database import transaction
from app.ladder import Step
from app.ledger.records import Run
from app.schema import ladders, moves, runs
from app.states import OPEN_STATES, MoveState, RunState

_OPEN = sorted(OPEN_STATES)
_BY_RUN = select(ladders).where(ladders.c.run_no == bindparam("run"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """The steps of one run, and the one that it is at."""

    steps: tuple[Step, ...]
    step: int  # from 1
    is_auto: bool
    waits: bool
    is_over: bool
    first_pass: int
    first_move: int
    planned: int
    planned_before: int
    failed_before: int

    @property
    def here(self) -> Step:
        """The step that the run is at."""
        return self.steps[self.step - 1]

    @property
    def next(self) -> Step | None:
        """The one after it."""
        return self.steps[self.step] if self.step < len(self.steps) else None

    @property
    def room(self) -> int | None:
        """How many moves the step may still plan; None: any number."""
        return None if self.here.limit is None else max(0, self.here.limit - self.planned)


@dataclass(frozen=True, slots=True, kw_only=True)
class Climbed:
    """The end of a step: *parked* and *failed* are what it left. The run *waits*, or is at the next step."""

    ladder: Ladder  # as it was
    parked: int
    failed: int  # canary reads
    waits: bool

    def __str__(self) -> str:
        """In words."""
        before = self.ladder
        what = f"step {before.step} of {len(before.steps)} ({before.here}) is over"
        return f"{what}: the run waits for `rekey resume`" if self.waits else f"{what}: on to {before.next}"


class LadderLedger:
    """The rows of rekey_ladders."""

    def __init__(self, engine: Engine) -> None:
        """Keep the engine; nothing is asked yet."""
        self.engine = engine

    def find(self, run: Run) -> Ladder | None:
        """The ladder of *run*, if it has one."""
        with transaction(self.engine, read_only=True) as connection:
            return _find(connection, run)

    def climb(self, run: Run, *, failed: int) -> Climbed | None:
        """No move of *run* is open: leave the step that it is at, or rest until the operator lets it go on; *failed*: canary reads so far.

        A step goes on by itself if it found nothing to do, or if the run is to do so after steps without a failure.

        Returns:
            What was done; None if it was nothing: there is no further step, or something is open again.
        """
        with transaction(self.engine) as connection:
            if not _lock(connection, run, RunState.RUNNING) or _is_open(connection, run):
                return None
            ladder = _find(connection, run)
            if ladder is None or ladder.is_over or ladder.next is None:
                return None
            parked = _parked(connection, run, ladder)
            found = failed - ladder.failed_before
            idle = not ladder.planned and not parked
            waits = not idle and not (ladder.is_auto and not parked and not found)
            if waits:
                _change(connection, run, waits=True)
                connection.execute(update(runs).where(runs.c.no == run.no).values(state=RunState.PAUSED))
            else:
                _go_on(connection, run, ladder, failed=failed)
            return Climbed(ladder=ladder, parked=parked, failed=found, waits=waits)

    def resume(self, run: Run, *, failed: int) -> Step | None:
        """Let a run go on that waits after a step. Where moves were sent on again meanwhile, it stays there until they have ended.

        Returns:
            The step that it begins; None: it does not wait, or stays at its step.
        """
        with transaction(self.engine) as connection:
            if not _lock(connection, run, RunState.PAUSED):
                return None
            ladder = _find(connection, run)
            if ladder is None or not ladder.waits:
                return None
            step = None
            if ladder.next is None or _is_open(connection, run):
                _change(connection, run, waits=False)
            else:
                step = _go_on(connection, run, ladder, failed=failed)
            connection.execute(update(runs).where(runs.c.no == run.no).values(state=RunState.RUNNING))
            return step


def add_ladder(connection: Connection, run_no: int, steps: Sequence[Step], *, is_auto: bool) -> None:
    """Give a run its steps, within the transaction that makes it."""
    first = {"step": 1, "first_pass": 1, "first_move": 1, "planned": 0, "planned_before": 0, "failed_before": 0}
    first |= {"waits": False, "is_over": False}
    recorded = json.dumps([step.to_record() for step in steps])
    connection.execute(insert(ladders).values(run_no=run_no, steps=recorded, is_auto=is_auto, **first))


def count_planned(connection: Connection, run: Run, planned: int) -> None:
    """So many moves were planned in the run's step, within the transaction that does so."""
    connection.execute(update(ladders).where(ladders.c.run_no == run.no).values(planned=ladders.c.planned + planned))


def end_ladder(connection: Connection, run_no: int) -> None:
    """The run is over, at whatever step: no other one follows."""
    connection.execute(update(ladders).where(ladders.c.run_no == run_no).values(is_over=True, waits=False))


def _find(connection: Connection, run: Run) -> Ladder | None:
    row = connection.execute(_BY_RUN, {"run": run.no}).mappings().one_or_none()
    if row is None:
        return None
    values = {name: row[name] for name in Ladder.__slots__}
    return Ladder(**values | {"steps": tuple(map(Step.from_record, json.loads(row["steps"])))})


def _lock(connection: Connection, run: Run, state: RunState) -> bool:
    """Whether the run is live and in this state, and stays so until the transaction ends."""
    here = (runs.c.no == run.no, runs.c.state == state, runs.c.live_hash.is_not(None))
    return connection.execute(select(runs.c.no).where(*here).with_for_update()).first() is not None


def _is_open(connection: Connection, run: Run) -> bool:
    here = (moves.c.run_no == run.no, moves.c.state.in_(_OPEN))
    return connection.execute(select(moves.c.id).where(*here).limit(1)).first() is not None


def _parked(connection: Connection, run: Run, ladder: Ladder) -> int:
    here = (moves.c.run_no == run.no, moves.c.state == MoveState.PARKED, moves.c.id >= ladder.first_move)
    return int(connection.execute(select(func.count()).select_from(moves).where(*here)).scalar_one())


def _go_on(connection: Connection, run: Run, ladder: Ladder, *, failed: int) -> Step:
    """Begin the next step: its passes are numbered on, so that no page of the step before is taken for one of it."""
    steps = list(ladder.steps)
    steps[ladder.step] = steps[ladder.step].named(_last_client(connection, run, ladder))
    seeding = connection.execute(select(runs.c.seed_pass, runs.c.next_move).where(runs.c.no == run.no)).one()
    after = seeding.seed_pass + 1
    anew = {"seed_pass": after, "seed_cursor": None, "seed_planned": 0, "seed_done": False, "seed_due_at": 0, "unseen": 0}
    connection.execute(update(runs).where(runs.c.no == run.no).values(anew))
    recorded = json.dumps([step.to_record() for step in steps])
    begun = {"step": ladder.step + 1, "first_pass": after, "first_move": seeding.next_move, "failed_before": failed}
    planned = {"planned": 0, "planned_before": ladder.planned_before + ladder.planned}
    _change(connection, run, steps=recorded, waits=False, **begun, **planned)
    return steps[ladder.step]


def _last_client(connection: Connection, run: Run, ladder: Ladder) -> str | None:
    """Whose row the step has moved last; those before it may be many that were in place."""
    here = (moves.c.run_no == run.no, moves.c.id >= ladder.first_move, moves.c.client.is_not(None), moves.c.state != MoveState.IN_PLACE)
    client = connection.execute(select(moves.c.client).where(*here).order_by(moves.c.id.desc()).limit(1)).scalar_one_or_none()
    return None if client is None else str(client)


def _change(connection: Connection, run: Run, **values: Any) -> None:  # noqa: ANN401 - columns of rekey_ladders
    connection.execute(update(ladders).where(ladders.c.run_no == run.no).values(values))
