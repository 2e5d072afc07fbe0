"""Old objects that could be deleted by now, but that the operator wants held, for now or for good (--hold, --max-deletes, delete_rate)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import Connection

from app.database import transaction
from app.errors import DatabaseUnavailableError
from app.ledger.records import Move, Outcome
from app.ledger.steering import Grant
from app.object_store import ObjectInfo
from app.stages.aftercare import kept
from app.stages.batch import Batch
from app.stages.views import View
from app.states import KeptReason

Due = list[tuple[Move, ObjectInfo]]
LONGEST_LINE_SECONDS = 30.0  # the rate may have changed by then
HEARD_SECONDS = 1.0  # in which deletes that go one by one hear of a pause or a hold
UNSEEN_SECONDS = 5.0  # until it is looked whether the operator's own stage has seen an asset by now
HELD = "the run holds its deletes: `rekey release` lets the old object go"
USED_UP = "the run's --max-deletes is used up: `rekey release` lets the old object go"


@dataclass(slots=True)
class LetGo:
    """What may be deleted now, and what the run's bounds were charged for it; ``used``: of that, what may indeed have been deleted."""

    due: Due
    used: int = 0
    _in_line: int = 0  # under delete_rate
    _grant: Grant | None = None  # of --max-deletes

    @contextmanager
    def charged(self, batch: Batch) -> Iterator[None]:
        """As a block: what is not used by its end is given back. A worker that is killed gives nothing back."""
        try:
            yield
        except Exception:
            self._give_back(batch)
            raise
        self._give_back(batch)

    def _give_back(self, batch: Batch) -> None:
        steering, in_line = batch.context.steering, self._in_line - self.used
        granted = self._grant.moves - self.used if self._grant else 0
        with suppress(DatabaseUnavailableError):  # what was deleted has to be recorded first; then some more are held than need be
            if in_line > 0:
                steering.give_back(batch.run, stage="delete", moves=in_line, rate=batch.context.settings.delete_rate)
            if self._grant and granted > 0:
                steering.give_deletes_back(batch.run, self._grant, granted)


def may_go(batch: Batch, view: View, due: Due) -> LetGo:
    """Those of *due* that may be deleted now; the others get their outcome. Moves of one object stand side by side, and stay together."""
    if not due:
        return LetGo([])
    if view.run.hold_deletes:
        for move, _ in due:
            batch.add(kept(move, KeptReason.HELD, HELD))
        return LetGo([])
    due, in_line = _in_turn(batch, _seen_by_own_stage(batch, due))
    if view.run.deletes_left is None:
        return LetGo(due, _in_line=in_line)
    due, grant = _granted(batch, due)
    return LetGo(due, _in_line=in_line, _grant=grant)


def still_may_go(batch: Batch, view: View, connection: Connection) -> bool:
    """Whether the run lets deletes go at this very moment: asked last before they are sent, since a canary read may have failed by now."""
    now = batch.context.runs.find_in(connection, batch.run.id)
    return now is not None and now.state is batch.run.state and not now.hold_deletes and now.deletes_held_until <= view.now


def going_on(batch: Batch, view: View, due: Due) -> Callable[[], bool]:
    """What the deletes of *due* ask before each request, of which there may be many: whether it may be signed.

    Not once a look behind it has grown old (S4), the worker is asked to stop, or the run is: which is asked again after a while.
    """
    context = batch.context
    end, asked_at = view.good_until([move for move, _ in due]), context.clock.boot()

    def still() -> bool:
        nonlocal asked_at
        now = context.clock.boot()
        if now > end or context.stopping():
            return False
        if now - asked_at < HEARD_SECONDS:
            return True
        asked_at = now
        try:
            with transaction(context.moves.engine, read_only=True) as connection:
                return still_may_go(batch, view, connection)
        except DatabaseUnavailableError:  # raised here, it would take the answers of those that are deleted by now
            return False

    return still


def _seen_by_own_stage(batch: Batch, due: Due) -> Due:
    """Those that the operator's own stage has seen, if deletes are to wait for it."""
    context = batch.context
    if not context.settings.deletes_wait or not context.settings.after_switch or not due:
        return due
    unseen = context.visits.open_of(batch.run, [move.id for move, _ in due if move.run_no == batch.run.no])
    waiting = {move.old_hash for move, _ in due if move.run_no == batch.run.no and move.id in unseen}
    for move, _ in due:
        if move.old_hash in waiting:
            batch.add(Outcome(move=move, due_in=UNSEEN_SECONDS), say="waiting for your own stage")
    return [(move, found) for move, found in due if move.old_hash not in waiting]


def _in_turn(batch: Batch, due: Due) -> tuple[Due, int]:
    """As many as the rate of deletes allows now, and for how many that was asked; a look is too young a thing to wait with."""
    context = batch.context
    rate = context.settings.delete_rate  # what the reconciler has decided bounds the looks, and with them the deletes (app.stages.runner)
    if not rate or not due:
        return due, 0
    first = sum(move.old_hash == due[0][0].old_hash for move, _ in due)  # they are not parted, so as many may always go together
    now, later = _cut(due, max(rate, first))
    wait = context.steering.turn(batch.run, stage="delete", moves=len(now), rate=rate, patience=0.0)
    if wait > 0:
        now, later, rest = [], due, wait
    else:
        rest = len(now) / rate
    for place, (move, _) in enumerate(later):  # in line: each is looked at again when its turn comes, not all of them each time
        batch.add(Outcome(move=move, due_in=rest + min(place / rate, LONGEST_LINE_SECONDS)), say="held back by the rate")
    return now, len(now)


def _granted(batch: Batch, due: Due) -> tuple[Due, Grant]:
    """As many as --max-deletes still allows."""
    grant = batch.context.steering.take_deletes(batch.run, len(due))
    now, later = _cut(due, grant.moves)
    for move, _ in later:
        batch.add(kept(move, KeptReason.HELD, USED_UP))
    return now, grant


def _cut(due: Sequence[tuple[Move, ObjectInfo]], most: int) -> tuple[Due, Due]:
    """At most so many from the beginning, and the rest; the moves of one object are not parted."""
    end = min(most, len(due))
    while 0 < end < len(due) and due[end - 1][0].old_hash == due[end][0].old_hash:
        end -= 1
    return list(due[:end]), list(due[end:])
