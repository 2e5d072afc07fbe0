"""The copy stage of a rollback: where the old object is still there as it was copied, nothing is written at all (H18)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.errors import MissingObjectError
from app.ledger.records import Move, is_written
from app.looks import Looks
from app.object_store import ObjectInfo, ObjectStore


def keys_of(moves: Sequence[Move]) -> list[str]:
    """The keys to look at beforehand, those of a move side by side."""
    return [key for move in moves for key in (move.old_key, move.new_key)]


def as_it_was(move: Move, looks: Looks) -> tuple[ObjectInfo, ObjectInfo] | None:
    """Copy and old object of the move that is taken back, if both are as that left them: then to switch the row is all there is to do."""
    there, here = looks.found.get(move.new_key), looks.found.get(move.old_key)
    if there is None or here is None or move.copy is None or move.source is None:
        return None
    return (here, there) if is_written(move.copy, there) and is_written(move.source, here) else None


def with_what_is_there(move: Move, looks: Looks) -> Move:
    """*move* as the copy stage takes it: written over the object that was copied then, and over nothing else."""
    there = looks.found.get(move.new_key)
    if move.copy is not None and there is not None and is_written(move.copy, there):
        return replace(move, copy=there)
    return replace(move, copy=None, copy_recorded=False)


def still_held(store: ObjectStore, move: Move) -> ObjectInfo | None:
    """The object that was copied then, if it is there: where the new one is lost, the row can be read again by its old key (H22)."""
    if move.copy is None:
        return None
    try:
        found = store.stat(move.new_key)
    except MissingObjectError:
        return None
    return found if is_written(move.copy, found) else None  # else somebody else's: the key was used again (H18)
