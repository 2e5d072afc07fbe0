"""Outcomes of moves, and questions about them. Every change is guarded by the lease's token (S7)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Integer, Select, and_, bindparam, or_, select

from app.arrays import among
from app.database import transaction
from app.fidelity_rules import Attribute
from app.ledger import losses, recording, sharing
from app.ledger.leases import LeaseLedger, Other, moves_of
from app.ledger.records import Lease, Move, Outcome, Run
from app.object_store import MAX_LISTED
from app.schema import moves
from app.states import OPEN_STATES, MoveState, can_go

_OPEN = sorted(OPEN_STATES)
__all__ = ["LARGE_FAMILY", "MoveLedger", "Other", "check_arrow"]
LARGE_FAMILY = MAX_LISTED  # moves that share one old object: more are not decided together; a chunk of deletes, which is one page
# of a listing, must not hold all of them: its last one has to see the others gone
FAMILIES = 10_000


_OTHER = select(moves.c.run_no, moves.c.id, moves.c.state, moves.c.old_hash, moves.c.new_hash, moves.c.waiting)
_PARKED_SWITCHED = and_(moves.c.state == MoveState.PARKED, moves.c.parked_from == MoveState.RENAMED)
_SHARING_OLD = _OTHER.where(among(moves.c.old_hash, "hashes"), or_(moves.c.state.in_(_OPEN), _PARKED_SWITCHED)).limit(
    bindparam("most", type_=Integer)
)
_WANTING_NEW = _OTHER.where(among(moves.c.live_hash, "hashes"))
_HELD = (
    select(moves.c.run_no, moves.c.id, moves.c.state)
    .where(moves.c.run_no == bindparam("run"), among(moves.c.id, "ids"), moves.c.lease_token == bindparam("token"))
    .order_by(moves.c.id)
    .with_for_update()
)
_BY_ID = select(moves).where(moves.c.run_no == bindparam("run"), among(moves.c.id, "ids")).order_by(moves.c.id)


class MoveLedger(LeaseLedger):
    """The rows of rekey_moves."""

    def __init__(self, engine: Engine, *, hint_seconds: float, first_stages: Mapping[MoveState, str]) -> None:
        """Keep the engine; nothing is asked yet. *first_stages*: the stage that a move in an open state is due for."""
        super().__init__(engine, hint_seconds=hint_seconds)
        self._first_stages = first_stages

    def record(self, lease: Lease, outcomes: Sequence[Outcome], *, connection: Connection | None = None) -> set[tuple[int, int]]:
        """Write outcomes for moves that *lease* still holds, all in one statement; and, where copies have lost something, what.

        Returns:
            (run number, move id) of those written; a move that is missing was lost to somebody else, and its outcome is void.
        """
        if not outcomes:
            return set()
        if connection is None:
            with transaction(self.engine, single=all(outcome.lost is None for outcome in outcomes)) as own:
                return self.record(lease, outcomes, connection=own)
        rows = [recording.row_of(lease, outcome, first_stages=self._first_stages, hint_us=self._hint_us) for outcome in outcomes]
        if connection.dialect.name == "postgresql":
            held = recording.write_held(connection, rows, replanned=self._replanned(lease, outcomes))
        else:
            held = set(self.held(connection, lease, [outcome.move for outcome in outcomes]))
            if held:
                recording.write(connection, [row for row in rows if row[-3:-1] in held])
        losses.note(connection, {key: lost for key, lost in _lost(outcomes) if key in held})
        return held

    def _replanned(self, lease: Lease, outcomes: Sequence[Outcome]) -> bool:
        """Whether any outcome under *lease*, of these or of earlier ones, has other keys than were claimed; or it may have."""
        active = self._active.get(lease.token)
        if active is None:
            return True
        if not active.replanned:  # for good: what was recorded meanwhile may be taken back by the end of its transaction, or not
            after = [outcome.move for outcome in outcomes]
            before = [active.claimed.get((move.run_no, move.id)) for move in after]
            active.replanned = any(
                old is None or recording.keys_of(old) != recording.keys_of(new) for old, new in zip(before, after, strict=True)
            )
        return active.replanned

    def held(self, connection: Connection, lease: Lease, of: Sequence[Move]) -> dict[tuple[int, int], MoveState]:
        """Those of the moves *of* that *lease* still holds, with their state; locked until the transaction ends."""
        found: dict[tuple[int, int], MoveState] = {}
        for run_no in {move.run_no for move in of}:
            ids = [move.id for move in of if move.run_no == run_no]
            rows = connection.execute(_HELD, {"run": run_no, "ids": ids, "token": lease.token})
            found |= {(row_run, move_id): MoveState(state) for row_run, move_id, state in rows}
        return found

    def sharing_old(self, connection: Connection, hashes: Collection[bytes]) -> list[Other]:
        """Live moves, of any run, whose old key is one of these objects, and those that were parked after their switch.

        A parked move's objects are touched by nobody until the operator decides, so its old object is not deleted for another's sake.
        Of an object that more than LARGE_FAMILY moves share, only so many and one.
        """
        if not hashes:
            return []
        found = self._others(connection, _SHARING_OLD, {"hashes": list(hashes), "most": FAMILIES})
        if len(found) < FAMILIES:
            return found
        one_by_one = (self._others(connection, _SHARING_OLD, {"hashes": [old_hash], "most": LARGE_FAMILY + 1}) for old_hash in hashes)
        return [other for family in one_by_one for other in family]

    def wanting_new(self, connection: Connection, hashes: Collection[bytes]) -> list[Other]:
        """Live moves, of any run, whose new key is one of these objects; of very many that share an object, some."""
        if not hashes:
            return []
        found = self._others(connection, _WANTING_NEW, {"hashes": list(hashes)})
        if sharing.is_rolling_back(connection):
            found += self._others(connection, sharing.FOLLOWING, {"hashes": list(hashes), "most": FAMILIES})
        return found

    def _others(self, connection: Connection, question: Select[Any], given: Mapping[str, Any]) -> list[Other]:
        return [
            Other(run_no, move_id, MoveState(state), bytes(old_hash), bytes(new_hash), bool(waiting))
            for run_no, move_id, state, old_hash, new_hash, waiting in connection.execute(question, given)
        ]

    def earlier(self, connection: Connection, move: Move) -> list[Move]:
        """Moves of other runs that took this row away from the same old key, newest first (H14: heal)."""
        rows = connection.execute(
            select(moves)
            .where(moves.c.old_hash == move.old_hash, moves.c.run_no != move.run_no, moves.c.row_id == move.row_id)
            .order_by(moves.c.run_no.desc())
        )
        return moves_of(rows)

    def load(self, run: Run, ids: Sequence[int]) -> list[Move]:
        """Moves by id, whoever holds them."""
        with transaction(self.engine, read_only=True) as connection:
            return moves_of(connection.execute(_BY_ID, {"run": run.no, "ids": list(ids)}))


def _lost(outcomes: Sequence[Outcome]) -> Iterator[tuple[tuple[int, int], frozenset[Attribute]]]:
    for outcome in outcomes:
        if outcome.lost is not None:
            yield (outcome.move.run_no, outcome.move.id), outcome.lost


def check_arrow(before: Move, after: Move) -> None:
    """Raise ValueError unless the contract has this arrow, or the state stays (a programmer's fault, never the user's)."""
    if before.state is not after.state and not can_go(before.state, after.state):
        raise ValueError(f"no arrow from {before.state} to {after.state}")
