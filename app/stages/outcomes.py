"""What an act, or its failure, makes of a move (S8, H17)."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from app import backoff
from app.copying import Copied
from app.errors import ArchivedError, BadKeyError, DeniedError, EncryptedError, FidelityError, LockedError, ObjectError, StoreRequestError
from app.ledger.records import Move, Outcome
from app.planning import printable
from app.settings import Settings
from app.states import MoveState, ParkedReason

_JITTER = random.Random()  # noqa: S311 - spreads retries, keeps no secret
CHANGES_AN_ATTEMPT = 4  # a service may well write an asset a few times while it is moved; only endless change is given up
LONGEST_DETAIL = 2500  # room for a reason and two whole keys; characters of an error's text in the ledger (H28)

_REASONS: tuple[tuple[type[ObjectError], ParkedReason], ...] = (
    (DeniedError, ParkedReason.DENIED),
    (LockedError, ParkedReason.LOCKED),
    (ArchivedError, ParkedReason.ARCHIVED),
    (EncryptedError, ParkedReason.ENCRYPTED),
    (BadKeyError, ParkedReason.BAD_NAME),
    (FidelityError, ParkedReason.FIDELITY),
)


def is_perhaps_done(answer: ObjectError | None) -> bool:
    """Whether the store may have deleted an object: a refusal says that it has not; an error of its own (500) says nothing of it.

    A 500 for an odd key counts as a bad key.
    """
    return answer is None or isinstance(answer, (StoreRequestError, BadKeyError))


def park(move: Move, reason: ParkedReason, detail: str, *, at: MoveState | None = None) -> Outcome:
    """Park *move*, keeping the state that it was parked in (H17)."""
    return Outcome(
        move=move._replace(state=MoveState.PARKED, parked_from=at or move.state, reason=reason, detail=clean(detail), waiting=False)
    )


def copied_outcome(move: Move, copied: Copied, *, recorded: bool) -> Outcome:
    """*move* has its copy; *recorded*: by this very move's write, and not by what was found at the new key."""
    done = move._replace(
        state=MoveState.COPIED,
        source=copied.source,
        copy=copied.copy if copied.copy.key == move.new_key else replace(copied.copy, key=move.new_key),
        copy_recorded=recorded,
        claims=0,
        attempts=0,
        missed_store_time=None,
        looks=0,
        waiting=False,
        detail=None,
    )
    may_be_noted = move.changes > 0 or move.claims > 1 or move.copy is not None  # what an earlier copy had lost
    return Outcome(move=done, hinted=True, lost=copied.lost if copied.lost or may_be_noted else None)


def refused(move: Move, error: ObjectError, *, settings: Settings) -> Outcome:
    """What the store's refusal makes of *move*: parked for good reasons at once, for others after so many recorded errors (S8)."""
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return park(move, reason, str(error))
    return failed(move, str(error), settings=settings)


def failed(move: Move, detail: str, *, settings: Settings) -> Outcome:
    """Record an error: tried again after a while, parked once there are MAX_ATTEMPTS of them (S8). It waits for no other move by now."""
    attempts = move.attempts + 1
    if attempts >= settings.max_attempts:
        return park(move, ParkedReason.FAILED, detail)
    wait = backoff.delay(attempts, base=1.0, cap=60.0, jitter=_JITTER)
    return Outcome(move=move._replace(attempts=attempts, detail=clean(detail), waiting=False), due_in=wait)


def again(move: Move, *, settings: Settings, detail: str, to: MoveState, **changes: Any) -> Outcome:  # noqa: ANN401 - fields of Move
    """Send *move* back to be copied or switched once more; bounded, so that an asset in constant change does not spin."""
    if changed_too_often(move, settings):
        return park(move, ParkedReason.CHANGED_TOO_OFTEN, detail)
    if move.state is not MoveState.PLANNED:  # else an earlier claim still is evidence for a copy of ours (H12)
        move = move._replace(claims=0, claimed_store_time=None)
    return Outcome(move=move._replace(state=to, changes=move.changes + 1, detail=clean(detail), **changes))


def nothing_written(move: Move) -> Move:
    """*move* without its last claim, under which no write was sent: it is no evidence for what appears at the new key later (H12)."""
    claims = max(0, move.claims - 1)
    return move._replace(claims=claims, claimed_store_time=move.claimed_store_time if claims else None)


def changed_too_often(move: Move, settings: Settings) -> bool:
    """Whether *move* was sent back so often that it is given up."""
    return move.changes + 1 > settings.max_attempts * CHANGES_AN_ATTEMPT


def clean(text: str) -> str:
    """An error's text as every database takes it."""
    return printable(text)[:LONGEST_DETAIL]
