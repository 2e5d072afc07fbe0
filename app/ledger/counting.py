"""How many moves of a run stand how: what ``rekey status`` asks every half second of a run of any size."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from sqlalchemy import Connection, false, func, literal, null, select, union_all

from app.arrays import among
from app.ledger.archiving import from_text, note_of
from app.ledger.records import Run, reason_of
from app.schema import meta, moves, runs
from app.states import KeptReason, MoveState, ParkedReason

SAMPLE = 64  # moves that show which state most are in
_GONE = "gone"  # in the place of a state: what has left the ledger (app.ledger.archiving)
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
    left_for_bucket = select(literal(_GONE), meta.c.value, null(), false(), literal(0)).where(meta.c.name == note_of(run.id))
    # One statement, so that no move is counted twice, or not at all, while it goes from one state to another, or leaves the ledger.
    found_rows = connection.execute(union_all(plain.group_by(moves.c.state), told, whole, left_for_bucket)).all()
    record = next((from_text(text) for state, text, *_ in found_rows if state == _GONE), None)
    gone = Counter({MoveState(state): number for state, number in (record.states or {}).items()}) if record else Counter()
    rows = [row for row in found_rows if row[0] != _GONE]
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
    left = sum(int(number) for state, *_, number in rows if state is None) - sum(count.moves for count in found) - gone.total()
    gone[most] += left
    both = [replace(count, moves=count.moves + gone.pop(count.state, 0)) if count.state in _PLAIN else count for count in found]
    more = [Count(state=state, parked_from=None, reason=None, waiting=False, moves=number) for state, number in gone.items() if number]
    return [*both, *more]


def _most(connection: Connection, run: Run) -> MoveState:
    """The state that most of those moves are in of which only the number is told, as far as a sample shows."""
    ids = {1 + (run.next_move - 1) * part // SAMPLE for part in range(SAMPLE)}
    states = connection.execute(select(moves.c.state).where(moves.c.run_no == run.no, among(moves.c.id, sorted(ids)))).scalars()
    seen = Counter(states)
    return max(_PLAIN, key=lambda state: seen[state])
