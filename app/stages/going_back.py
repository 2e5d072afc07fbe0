"""The copy stage of a rollback: where the old object is still there as it was copied, nothing is written at all (H18)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from app.assets import ENOUGH, Naming
from app.database import transaction
from app.errors import MissingObjectError
from app.ledger import sharing
from app.ledger.records import Move, Outcome, Run, is_written
from app.looks import Looks
from app.object_store import ObjectInfo, ObjectStore
from app.stages.batch import Batch
from app.stages.outcomes import nothing_written
from app.states import MoveState, RunKind

SIBLING_SECONDS = 2.0  # for the record of what another move of this rollback has just put back for both; doubling


def as_it_was(move: Move, looks: Looks) -> tuple[ObjectInfo, ObjectInfo] | None:
    """Copy and old object of the move that is taken back, if both are as that left them: then to switch the row is all there is to do."""
    there, here = looks.found.get(move.new_key), looks.found.get(move.old_key)
    if there is None or here is None or move.copy is None or move.source is None:
        return None
    return (here, there) if is_written(move.copy, there) and is_written(move.source, here) else None


def with_what_is_there(batch: Batch, move: Move, looks: Looks) -> Move:
    """*move* as the copy stage takes it: written over the object that was copied then, where that is its alone, and over nothing else."""
    there = looks.found.get(move.new_key)
    if move.copy is not None and there is not None and is_written(move.copy, there) and not _is_shared(batch, move):
        return move._replace(copy=there)
    return move._replace(copy=None, copy_recorded=False)


def strangers(batch: Batch, move: Move, named: Sequence[Naming]) -> list[Naming]:
    """Of the rows that name *move*'s new key, those that stand in its way: of a rollback, not those that it shared the object with."""
    if batch.run.kind is not RunKind.ROLLBACK or not named:
        return list(named)
    with transaction(batch.context.moves.engine, read_only=True) as connection:
        return strangers_in(connection, batch.run, {move.new_hash: named})


def strangers_in(connection: Connection, run: Run, named: Mapping[bytes, Sequence[Naming]]) -> list[Naming]:
    """The same for several objects in the caller's transaction: each by its hash, with the rows that name it."""
    row_ids = {naming.row_id for namings in named.values() for naming in namings if naming.row_id is not None}
    known = [hashed for hashed, namings in named.items() if len(namings) < ENOUGH]  # of more, some were not read
    here_before = sharing.never_left(connection, run, known, row_ids)
    return [naming for hashed, namings in named.items() for naming in namings if (hashed, naming.row_id) not in here_before]


def _is_shared(batch: Batch, move: Move) -> bool:
    """Whether another row names the object at *move*'s new key, or goes back to it: what changed in one's copy is not the other's."""
    context = batch.context
    with transaction(context.moves.engine, read_only=True) as connection:
        naming = context.assets.naming(connection, [move.new_key]).get(context.rules.equivalence.canonical(move.new_key), [])
        return any(found.row_id != move.row_id for found in naming) or bool(sharing.sharing_new(connection, batch.run, move))


def put_back_already(batch: Batch, move: Move, there: ObjectInfo) -> bool | Outcome:
    """Whether *there*, equal to what *move* would put back, was put back by another move of this rollback; or when that will show."""
    if batch.run.kind is not RunKind.ROLLBACK:
        return False
    batch.flush()  # that move may be of this very batch
    with transaction(batch.context.moves.engine, read_only=True) as connection:
        if sharing.is_a_siblings(connection, batch.run, move, there):
            return True
        siblings = sharing.sharing_new(connection, batch.run, move)
    if not any(other.state is MoveState.PLANNED for other in siblings):
        return False
    looked = nothing_written(move)._replace(looks=move.looks + 1, detail="perhaps another move has put the shared object back just now")
    return Outcome(move=looked, due_in=SIBLING_SECONDS * 2.0 ** min(move.looks, 5))


def is_siblings(batch: Batch, move: Move, copy: ObjectInfo) -> bool:
    """Whether *copy*, which *move* relies on, is what another move of this rollback has put back for sure."""
    if batch.run.kind is not RunKind.ROLLBACK:
        return False
    with transaction(batch.context.moves.engine, read_only=True) as connection:
        return sharing.is_a_siblings(connection, batch.run, move, copy, answered=True)


def still_held(store: ObjectStore, move: Move) -> ObjectInfo | None:
    """The object that was copied then, if it is there: where the new one is lost, the row can be read again by its old key (H22)."""
    if move.copy is None:
        return None
    try:
        found = store.stat(move.new_key)
    except MissingObjectError:
        return None
    return found if is_written(move.copy, found) else None  # else somebody else's: the key was used again (H18)
