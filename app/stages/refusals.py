"""What becomes of a move whose row the database does not switch: refused for good, or ended each time for reasons of the moment."""

from __future__ import annotations

from sqlalchemy import exc

from app.database import brief
from app.errors import DatabaseUnavailableError
from app.ledger.records import Move, Outcome
from app.stages.batch import Batch
from app.stages.cleaning import park_before_switch
from app.stages.outcomes import clean
from app.states import ParkedReason

NOT_YET = "row not switched"
LOCKED_SECONDS = 5.0  # a row that somebody holds is tried again after so long, and each time after twice as long,
LONGEST_LOCKED_SECONDS = 300.0  # up to this;
MOST_TRIES = 12  # so often in all, within half an hour: an application's longest transaction is over by then, a fault is not


class RowChangedError(Exception):
    """A row is not as the move expects it: the transaction is rolled back and the moves are decided one by one."""


class RejectedError(RowChangedError):
    """The database stored another key than the one that was written (H11)."""


Refusal = RowChangedError | DatabaseUnavailableError | exc.DBAPIError


def ended(batch: Batch, move: Move, refusal: Refusal) -> Outcome | None:
    """What becomes of a row whose switch the database ended, though it is there: somebody holds the row, or its trigger takes its time.

    Tried again for half an hour, then parked, so that the run ends (S8, S9). None where the refusal is of another kind.
    """
    if not isinstance(refusal, DatabaseUnavailableError):
        return None
    tries = move.attempts + 1
    if tries >= max(MOST_TRIES, batch.context.settings.max_attempts):
        return park_before_switch(batch, move, ParkedReason.FAILED, f"the database ended its switch {tries} times: {refusal}")
    due_in = min(LOCKED_SECONDS * 2.0 ** (tries - 1), LONGEST_LOCKED_SECONDS)
    return Outcome(move=move._replace(attempts=tries, detail=clean(str(refusal))), due_in=due_in)


def rejected(batch: Batch, move: Move, refusal: Refusal) -> Outcome | None:
    """Park a move whose key the database does not take; None where its row is only not as it was planned."""
    if isinstance(refusal, RejectedError):
        return park_before_switch(batch, move, ParkedReason.REJECTED, str(refusal))
    if isinstance(refusal, exc.DBAPIError):
        # UNIQUE, CHECK, a trigger, a column that is too short: the database does not take this key (case 30, H11).
        return park_before_switch(batch, move, ParkedReason.REJECTED, f"the database refused the new key: {brief(refusal)}")
    return None
