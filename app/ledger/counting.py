"""How many moves of a run stand how: what ``rekey status`` asks every half second of a run of any size."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import Connection, false, func, null, select, union_all

from app.arrays import among
from app.ledger.records import Run, reason_of
from app.schema import moves, runs
from app.states import KeptReason, MoveState, ParkedReason

SAMPLE = 64  # moves that show which state most are in
_TOLD = (MoveState.PLANNED, MoveState.KEPT, MoveState.PARKED)  # of which more than the number is told
_PLAIN = sorted(frozenset(MoveState) - frozenset(_TOLD))


@dataclass(frozen=True, slots=True)
class Count:
    """How many moves of a run stand so."""

    state: MoveState
    parked_from: MoveState | None
    reason: ParkedReason | KeptReason | None
    waiting: bool
    moves: int


def count_moves(connection: Connection, run: Run) -> list[Count]:
    """All moves of a run as they are at one moment, counted by state; parked and kept ones by reason, planned ones by waiting too.

    The others are counted in the index alone, which has a sixth of the table's pages; but for those in the state that most moves are
    in. The run's record has the number of all, and they are what is left of it.
    """
    most = _most(connection, run)
    here = moves.c.run_no == run.no
    columns = (moves.c.state, moves.c.parked_from, moves.c.reason, moves.c.waiting)
    plain = select(moves.c.state, null(), null(), false(), func.count()).where(
        here, moves.c.state.in_([state for state in _PLAIN if state is not most])
    )
    told = select(*columns, func.count()).where(here, moves.c.state.in_(_TOLD)).group_by(*columns)
    whole = select(null(), null(), null(), false(), runs.c.next_move - 1).where(runs.c.no == run.no)
    # One statement, so that no move is counted twice, or not at all, while it goes from one state to another.
    rows = connection.execute(union_all(plain.group_by(moves.c.state), told, whole)).all()
    found = [
        Count(
            MoveState(state),
            MoveState(parked_from) if parked_from else None,
            reason_of(MoveState(state), reason),
            bool(waiting),
            int(number),
        )
        for state, parked_from, reason, waiting, number in rows
        if state is not None
    ]
    left = sum(int(number) for state, *_, number in rows if state is None) - sum(count.moves for count in found)
    return [*found, Count(state=most, parked_from=None, reason=None, waiting=False, moves=left)] if left else found


def _most(connection: Connection, run: Run) -> MoveState:
    """The state that most of those moves are in of which only the number is told, as far as a sample shows."""
    ids = {1 + (run.next_move - 1) * part // SAMPLE for part in range(SAMPLE)}
    states = connection.execute(select(moves.c.state).where(moves.c.run_no == run.no, among(moves.c.id, sorted(ids)))).scalars()
    seen = Counter(states)
    return max(_PLAIN, key=lambda state: seen[state])
