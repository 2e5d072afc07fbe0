"""What becomes of copied and half-copied moves of a cancelled run: our copy is removed, or listed, and the old object stays (H17)."""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import UnansweredError
from app.ledger.records import Outcome
from app.stages.batch import Batch
from app.stages.cleaning import remove_copy
from app.stages.outcomes import clean
from app.states import MoveState


@dataclass(frozen=True, slots=True)
class CancelMoves:
    """Ends moves whose rows were not switched."""

    chunk: int = 50  # each costs a look and a delete of its own

    def act(self, batch: Batch) -> None:
        """Remove the copies of the next chunk."""
        for move in batch.left[: self.chunk]:
            if batch.time_is_up:
                return
            batch.flush_sometimes()
            try:
                left = remove_copy(batch, move)
            except UnansweredError as error:
                batch.unanswered(move, error)
                raise
            batch.add(Outcome(move=move._replace(state=MoveState.CANCELLED, waiting=False, detail=clean(left) if left else None)))
