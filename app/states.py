"""The states of a move and of a run, and every arrow between them. Pure."""

from __future__ import annotations

from enum import StrEnum


class MoveState(StrEnum):
    """Where one asset's move stands. A state says what is; a wish (pause, cancel) is a flag on the run."""

    PLANNED = "planned"
    COPIED = "copied"
    RENAMED = "renamed"
    DELETED = "deleted"
    IN_PLACE = "in_place"
    KEPT = "kept"
    PARKED = "parked"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    ROLLED_BACK = "rolled_back"


class ParkedReason(StrEnum):
    """Why a move was parked: the closed list of the contract."""

    MISSING_SOURCE = "missing_source"
    TARGET_EXISTS = "target_exists"
    COLLISION = "collision"
    BAD_NAME = "bad_name"
    TOO_LONG = "too_long"
    DENIED = "denied"
    LOCKED = "locked"
    ARCHIVED = "archived"
    ENCRYPTED = "encrypted"
    FIDELITY = "fidelity"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    CHANGED_TOO_OFTEN = "changed_too_often"
    FAILED = "failed"


class KeptReason(StrEnum):
    """Why a moved asset's old object stays."""

    NAMED = "named"  # a row, or another asset's move, still lays claim to it
    UNPROVED = "unproved"  # nobody lacks the bytes, but no copy proves that it may go
    HELD = "held"  # the run holds its deletes, or has used up its --max-deletes: `rekey release` lets them go
    CANCELLED = "cancelled"  # the run was cancelled after the switch


RELEASABLE = frozenset({KeptReason.HELD, KeptReason.CANCELLED})


class RunKind(StrEnum):
    """What a run does."""

    MOVE = "move"
    ROLLBACK = "rollback"  # takes another run back: the same stages with the keys exchanged


class RunState(StrEnum):
    """Where a run stands. A cancelled run ends once its open moves have ended, a few seconds later."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    FINISHED = "finished"


OPEN_STATES = frozenset({MoveState.PLANNED, MoveState.COPIED, MoveState.RENAMED})
FINAL_STATES = frozenset(MoveState) - OPEN_STATES
# What a move that stands so has behind it; a parked one stands where it was parked.
SWITCHED_STATES = frozenset({MoveState.RENAMED, MoveState.DELETED, MoveState.KEPT})
COPIED_STATES = SWITCHED_STATES | {MoveState.COPIED}

_S = MoveState
# One sentence an arrow: when it happens.
TRANSITIONS: dict[tuple[MoveState, MoveState], str] = {
    (_S.PLANNED, _S.COPIED): "The copy at the new key was proved, or found to be ours by the ledger's evidence.",
    (_S.PLANNED, _S.PLANNED): "The row changed while it was being planned: planned again in place, one generation on.",
    (_S.PLANNED, _S.IN_PLACE): "The row names its new key already, and the object is there.",
    (_S.PLANNED, _S.PARKED): "The asset cannot be copied, for a reason that a repetition does not mend.",
    (_S.PLANNED, _S.SUPERSEDED): "The row is gone, or needs no move any more.",
    (_S.PLANNED, _S.CANCELLED): "The run was cancelled before this asset was copied.",
    (_S.COPIED, _S.PLANNED): "The source or the row changed, or the copy was gone, before the switch: copied again.",
    (_S.COPIED, _S.RENAMED): "The row was switched to the new key in one transaction.",
    (_S.COPIED, _S.IN_PLACE): "Only the spelling of the key was corrected: both keys are the same object, so nothing is deleted.",
    (_S.COPIED, _S.PARKED): "The row could not be switched, for a reason that a repetition does not mend.",
    (_S.COPIED, _S.SUPERSEDED): "The row is gone, or needs no move any more; our copy was removed or is listed.",
    (_S.COPIED, _S.CANCELLED): "The run was cancelled before the switch; our copy was removed or is listed.",
    (_S.RENAMED, _S.DELETED): "The old object was deleted, or was found gone.",
    (_S.RENAMED, _S.COPIED): "The application saved the old key over the switch: switched once more.",
    (_S.RENAMED, _S.PLANNED): "The application saved the old key and a new version of the old object: moved once more.",
    (_S.RENAMED, _S.KEPT): "The old object is still named by a row, or held: moved, and the old object stays.",
    (_S.RENAMED, _S.PARKED): "Old and new object both changed, or the old object cannot be deleted: both stay.",
    (_S.PARKED, _S.PLANNED): "retry: parked before the copy.",
    (_S.PARKED, _S.COPIED): "retry: parked before the switch.",
    (_S.PARKED, _S.RENAMED): "retry: parked before the delete.",
    (_S.KEPT, _S.RENAMED): "release: the operator lets the old object go that was held, or kept by a cancellation.",
    (_S.PARKED, _S.ROLLED_BACK): "rollback: nothing had been switched, or the row names its old key again.",
    (_S.RENAMED, _S.ROLLED_BACK): "rollback: the row names its old key again.",
    (_S.DELETED, _S.ROLLED_BACK): "rollback: the object was copied back and the row names its old key again.",
    (_S.KEPT, _S.ROLLED_BACK): "rollback: the row names its old key again.",
    (_S.COPIED, _S.ROLLED_BACK): "rollback: nothing had been switched; our copy was removed or is listed.",
}


def can_go(state: MoveState, to: MoveState) -> bool:
    """Whether the contract has an arrow from *state* to *to*."""
    return (state, to) in TRANSITIONS
