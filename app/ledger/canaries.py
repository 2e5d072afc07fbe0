"""What the canary reads of a run have seen, and which assets they look at next."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from sqlalchemy import Engine, select

from app.arrays import among
from app.database import transaction
from app.ledger.leases import moves_of
from app.ledger.records import Move, Run
from app.ledger.runs import RunLedger
from app.schema import moves
from app.states import SWITCHED_STATES, MoveState

TRIES = 8  # random ids for each move wanted: most of a young run are not moved yet
_NEXT = (MoveState.RENAMED, MoveState.COPIED)  # deleted next, and switched next


@dataclass(frozen=True, slots=True, kw_only=True)
class Canaries:
    """How many reads there were, and what the last one that failed was told.

    ``stopped``: the run rests for it. ``missing``: by row, the moves whose object was not found and is looked for again: (id, looks, when
    it was missed first, UTC seconds by the store's clock).
    """

    reads: int = 0
    failed: int = 0
    last_failure: str | None = None
    stopped: bool = False
    missing: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


class CanaryLedger:
    """A record a run in rekey_meta; and the choice of moves."""

    def __init__(self, engine: Engine) -> None:
        """Keep the engine; nothing is asked yet."""
        self.engine = engine

    def find(self, run: Run) -> Canaries:
        """What was noted so far."""
        return _read(RunLedger(self.engine).remembered(_name(run)))

    def note(self, run: Run, change: Callable[[Canaries], Canaries]) -> None:
        """Change what was noted; *change* may be called anew, with what another process has noted meanwhile.

        Ticks overlap where one was stopped, or two supervisors tick: the later one to write must not take back what the other has seen.
        """
        known = RunLedger(self.engine)
        while True:
            was = known.remembered(_name(run))
            before = _read(was)
            now = change(before)
            if now == before or known.replace(_name(run), was, json.dumps(asdict(now))):
                return

    def go_on(self, run: Run) -> None:
        """The operator has seen why the run rests, and lets it go on, or rests it for reasons of his own."""
        self.note(run, lambda before: replace(before, stopped=False, missing={}) if before.stopped else before)

    def sample(self, run: Run, *, most: int) -> list[Move]:
        """Some *most* moves that have a proved copy: those that are deleted or switched next, and others at random, of any age."""
        wanted = min(most * TRIES, run.next_move - 1)
        ids = random.sample(range(1, run.next_move), wanted) if wanted > 0 else []
        here = moves.c.run_no == run.no
        found: dict[int, Move] = {}
        with transaction(self.engine, read_only=True) as connection:
            for state in _NEXT:
                soonest = select(moves).where(here, moves.c.state == state).order_by(moves.c.due_at).limit(-(-most // 4))
                found |= _by_id(moves_of(connection.execute(soonest)))
            any_age = select(moves).where(here, among(moves.c.id, ids), moves.c.state.in_(sorted(SWITCHED_STATES))).limit(most)
            others = [move for move in moves_of(connection.execute(any_age)) if move.id not in found]
        return [*found.values(), *others][:most]


def _read(found: str | None) -> Canaries:
    if not found:
        return Canaries()
    values = json.loads(found)
    return Canaries(**values | {"missing": {row_id: tuple(missed) for row_id, missed in values["missing"].items()}})


def _by_id(of: Sequence[Move]) -> dict[int, Move]:
    return {move.id: move for move in of}


def _name(run: Run) -> str:
    return f"canary:{run.id}"
