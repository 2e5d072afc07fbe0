"""Objects that several rows named before a run: whose moves of its rollback go back to one key, and who may be found there (H29)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, Integer, and_, bindparam, or_, select

from app.arrays import among
from app.ledger.leases import moves_of
from app.ledger.records import Move, Run, is_written
from app.object_store import ObjectInfo
from app.schema import moves, runs
from app.states import OPEN_STATES, MoveState, RunKind

_OPEN = sorted(OPEN_STATES)
_WRITTEN = sorted(frozenset(MoveState) - {MoveState.PLANNED})  # whatever became of it: its record says what it left there
SOME = 20  # moves whose record may say whose an object is
_origin = moves.alias("origin")
# A rollback's moves have the numbers of those that they take back, whose old key is their new one, and has an index.
_GOING_BACK = and_(_origin.c.run_no == runs.c.origin_no, _origin.c.id == moves.c.id, runs.c.no == moves.c.run_no)
_ANY_ROLLBACK = select(runs.c.no).where(runs.c.live_hash.is_not(None), runs.c.kind == RunKind.ROLLBACK).limit(1)
FOLLOWING = (
    select(moves.c.run_no, moves.c.id, moves.c.state, moves.c.old_hash, moves.c.new_hash, moves.c.waiting)
    .where(_GOING_BACK, runs.c.live_hash.is_not(None), among(_origin.c.old_hash, "hashes"))
    .where(moves.c.state.in_(_OPEN), moves.c.live_hash.is_(None))
    .limit(bindparam("most", type_=Integer))
)


def is_rolling_back(connection: Connection) -> bool:
    """Whether any run is being taken back, so that there may be moves which want a key without a claim on it."""
    return connection.execute(_ANY_ROLLBACK).first() is not None


def never_left(connection: Connection, run: Run, old_hashes: Collection[bytes], row_ids: Collection[str]) -> set[tuple[bytes, str]]:
    """Of the rows *row_ids* those that named one of these objects before the run that *run* takes back, and have no other reason to now.

    They were switched back by this rollback, or never switched. A row that was moved away and names the object once more by the service's
    own will is a stranger there: its upload may be to come (H5, H18).
    """
    if run.origin_no is None or not row_ids:
        return set()
    parked_before = and_(moves.c.state == MoveState.PARKED, moves.c.parked_from != MoveState.RENAMED)
    found = connection.execute(
        select(moves.c.old_hash, moves.c.row_id).where(
            moves.c.run_no == run.origin_no,
            among(moves.c.row_id, list(row_ids)),
            among(moves.c.old_hash, list(old_hashes)),
            or_(moves.c.state.in_([MoveState.ROLLED_BACK, MoveState.CANCELLED]), parked_before),
        )
    )
    return {(bytes(old_hash), str(row_id)) for old_hash, row_id in found}


def sharing_new(connection: Connection, run: Run, move: Move) -> Sequence[Move]:
    """Other open moves of the rollback *run* that go back to the same object as *move*; of very many, some."""
    return moves_of(connection.execute(_of_family(run, move, _OPEN)))


def is_a_siblings(connection: Connection, run: Run, move: Move, there: ObjectInfo, *, answered: bool = False) -> bool:
    """Whether *there*, the object at *move*'s new key, is what another move of this rollback has put back for both.

    *answered*: only if the reply to that write was seen; else it may have been inferred too (H12).
    """
    same = and_(moves.c.copy_etag == there.etag, moves.c.copy_size == there.size)
    written = moves_of(connection.execute(_of_family(run, move, _WRITTEN).where(same)))
    known = [other for other in written if other.copy_recorded or not answered]
    return any(other.copy is not None and is_written(other.copy, there) for other in known)


def _of_family(run: Run, move: Move, states: Sequence[str]):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a Select of all columns
    family = (_origin.c.run_no == run.origin_no, _origin.c.old_hash == move.new_hash, moves.c.run_no == run.no)
    return select(moves).where(_origin.c.id == moves.c.id, *family, moves.c.id != move.id, moves.c.state.in_(states)).limit(SOME)
