"""A batch of moves under one lease, and what becomes of each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from sqlalchemy import exc

from app.errors import (
    CredentialsError,
    DatabaseUnavailableError,
    DeniedError,
    LeaseLostError,
    ObjectError,
    StoreUnavailableError,
    TransientError,
    UnansweredError,
)
from app.key_values import RESERVED_PREFIX
from app.ledger.moves import check_arrow
from app.ledger.records import Lease, Move, Outcome, Run
from app.stages.context import Context
from app.stages.crowd import Place
from app.stages.outcomes import clean, park, refused
from app.states import MoveState, ParkedReason

TASK_SECONDS = 5.0  # after about so long a task gives the rest back, so that pause and stop are heard (design section 6)
FLUSH_SECONDS = 1.0


@dataclass(slots=True, kw_only=True)
class Result:
    """What a task did with a batch."""

    stage: str
    ready: list[int] = field(default_factory=list)  # for the next stage, now
    again: list[int] = field(default_factory=list)  # given back untouched for lack of time: for this stage, now
    counts: Counter[str] = field(default_factory=Counter)
    outcomes: int = 0  # moves that this stage is done with, or had an error with
    failed: int = 0  # of these, those that were parked or had an error
    taken: int = 0  # moves that were taken up, and looked at at least
    outage: TransientError | None = None  # the last request that the store did not answer, or did not carry out for now

    def summary(self) -> str:
        """One line as Flower shows it: "198 copied, 2 parked: missing_source 2"."""
        plain = [f"{n} {what.replace('_', ' ')}" for what, n in sorted(self.counts.items()) if not what.startswith("parked:")]
        parked = [(what.removeprefix("parked:"), n) for what, n in sorted(self.counts.items()) if what.startswith("parked:")]
        if parked:
            plain.append(f"{sum(n for _, n in parked)} parked: " + ", ".join(f"{what} {n}" for what, n in parked))
        return ", ".join(plain) or "nothing to do"


class Batch:
    """Claimed moves of one run under one lease: takes outcomes and writes them, many in one statement."""

    def __init__(
        self,
        run: Run,
        lease: Lease,
        moves: Sequence[Move],
        *,
        context: Context,
        result: Result,
        started: float,
        alone: Callable[[], bool] = lambda: True,
        place: Place | None = None,
    ) -> None:
        """Start with *moves*, all of which must end up recorded or released; the task began at boot-clock time *started*.

        *place*: how many requests it may have under way; none: one.
        *alone* renews the right of a suspect to be the only one that is worked on, and tells whether it still is.
        """
        self.run = run
        self.lease = lease
        self.context = context
        self.result = result
        self._left = {(move.run_no, move.id): move for move in moves}
        self._pending: list[Outcome] = []
        self._uploads: dict[str, tuple[int, int]] = {}
        self._alone = alone
        self._place = place
        self._started = started
        self._flushed = started
        self.completing: frozenset[tuple[int, int]] = frozenset()  # moves with an upload on record that may have become their copy
        self.given_back = 0  # moves for which there was no time
        self._credentials_are_taken = False  # as far as is known
        self.end_others: Callable[[], None] | None = None  # takes what came of the writes of other moves that are under way

    @property
    def left(self) -> list[Move]:
        """Moves without an outcome yet."""
        return list(self._left.values())

    @property
    def time_is_up(self) -> bool:
        """Whether the rest should be given back: worker or run stops, the task took long enough, the lease is too short."""
        context = self.context
        return (
            context.stopping()
            or not context.watch.still(self.run)
            or context.clock.boot() - self._started > TASK_SECONDS
            or self.lease.remaining() < context.settings.request_timeout_seconds
        )

    def keep_alone(self) -> None:
        """Renew what lets a suspect be worked on alone in the whole run (H28).

        Raises:
            LeaseLostError: Somebody else has that right by now.
        """
        if not self._alone():
            raise LeaseLostError("another suspect of the run is being worked on")

    @property
    def requests(self) -> int:
        """How many requests it may have under way."""
        return 1 if self._place is None else self._place.size

    def shrink(self, requests: int) -> None:
        """Have no more requests under way than that from now on; the room is for other tasks."""
        if self._place is not None:
            self._place.shrink(requests)

    def go_alone(self) -> None:
        """What comes next takes long: end what is under way with it, and leave the room for that to other tasks."""
        if self.end_others is not None:
            self.end_others()
        self.shrink(1)

    def part_from(self, move: Move) -> None:
        """Give back all but *move*, which will take long: others need not wait for it."""
        self.go_alone()
        others = [other for other in self.left if other.run_no != move.run_no or other.id != move.id]
        if others:
            self.flush()
            self.context.moves.release(self.lease, others)
            self.drop(others)
            self.result.counts["given back"] += len(others)

    def holds(self, move: Move) -> bool:
        """Whether *move* still has no outcome here."""
        return (move.run_no, move.id) in self._left

    def join(self, moves: Sequence[Move]) -> None:
        """Add moves that the lease took on later."""
        self._left |= {(move.run_no, move.id): move for move in moves}

    def drop(self, moves: Sequence[Move]) -> None:
        """Forget moves that were lost to somebody else: they get no outcome here."""
        for move in moves:
            self._left.pop((move.run_no, move.id), None)

    def add(self, outcome: Outcome, *, say: str | None = None) -> None:
        """Take one move's outcome; it is written with the next ``flush``."""
        before = self._left.pop((outcome.move.run_no, outcome.move.id))
        check_arrow(before, outcome.move)
        if outcome.stage is None and outcome.move.state is before.state:
            outcome = replace(outcome, stage=self.result.stage)  # still due here: a state may have several stages
        self._pending.append(outcome)
        self._judge(before, outcome.move)
        self.count(outcome, say=say)

    def unanswered(self, move: Move, error: UnansweredError) -> None:
        """A request for *move* got no answer and may still be carried out: nobody acts on it before the lease ends (S7, H2)."""
        self.result.outage = error
        self.add(Outcome(move=move._replace(detail=clean(str(error)), waiting=False), keep_lease=True), say="unanswered")

    def outlast(self, seconds: float) -> None:
        """Have the lease last so long from now at least, if the ledger can be told: a request may be carried out as late as that."""
        if self.lease.remaining() < seconds:
            with suppress(DatabaseUnavailableError, LeaseLostError):
                self.flush()
                self.context.moves.renew(self.lease, self.left, seconds=seconds)

    def refused(self, move: Move, error: ObjectError) -> Outcome:
        """What the store's refusal makes of *move*.

        Raises:
            StoreUnavailableError: It refuses these credentials whatever they ask for: no asset's fault, and over once they are mended.
        """
        if isinstance(error, DeniedError) and not self._credentials_are_taken:
            _see_credentials(self.context)
            self._credentials_are_taken = True
        return refused(move, error, settings=self.context.settings)

    def count(self, outcome: Outcome, *, say: str | None = None) -> None:
        """Count an outcome for the summary."""
        state = outcome.move.state
        self.result.counts[say or (f"parked:{outcome.move.reason}" if state is MoveState.PARKED else str(state))] += 1

    def done(self, outcomes: Sequence[Outcome]) -> None:
        """Note outcomes that the stage has written itself, in a transaction of its own."""
        for outcome in outcomes:
            before = self._left.pop((outcome.move.run_no, outcome.move.id))
            check_arrow(before, outcome.move)
            self._judge(before, outcome.move)
            self.count(outcome)

    def _judge(self, before: Move, after: Move) -> None:
        """See whether that is an outcome, and whether it is a failure (app.throttle.guard)."""
        failed = after.state is MoveState.PARKED or after.attempts > before.attempts
        self.result.failed += failed
        self.result.taken += 1
        self.result.outcomes += failed or after.state is not before.state

    def flush(self) -> None:
        """Write what is pending; hand those with a message ahead to the result. What the ledger does not take is pending still."""
        pending = self._pending
        if not pending:
            return
        try:
            written = self.context.moves.record(self.lease, pending)
        except exc.IntegrityError:
            written = set().union(*(self._record_singly(outcome) for outcome in pending))
        self._pending = []
        self._forget_uploads({(o.move.run_no, o.move.id) for o in pending if o.move.state is not MoveState.PLANNED} & written)
        for outcome in pending:
            move = outcome.move
            if outcome.hinted and (move.run_no, move.id) in written and move.run_no == self.run.no:
                self.result.ready.append(move.id)

    def settle(self, move: Move, upload: str) -> None:
        """*upload* has become *move*'s copy: it is forgotten once the ledger has the outcome."""
        self._uploads[upload] = (move.run_no, move.id)

    def _forget_uploads(self, copied: set[tuple[int, int]]) -> None:
        done = [upload for upload, move in self._uploads.items() if move in copied]
        if done:
            for upload in done:
                del self._uploads[upload]
            with suppress(DatabaseUnavailableError):  # the reconciler will find that they are gone
                self.context.uploads.end(done)

    def flush_sometimes(self) -> None:
        """Write what is pending if the last time was a while ago: what is recorded survives a kill."""
        if self.context.clock.boot() - self._flushed > FLUSH_SECONDS:
            self.flush()
            self._flushed = self.context.clock.boot()

    def _record_singly(self, outcome: Outcome) -> set[tuple[int, int]]:
        try:
            return self.context.moves.record(self.lease, [outcome])
        except exc.IntegrityError:  # the new key of a re-planned move is wanted by another live move (H9, H25)
            own = self._with_own_key(outcome.move)
            if own is not None:
                return self._record_singly(replace(outcome, move=own))
            self.context.moves.record(
                self.lease, [park(outcome.move, ParkedReason.COLLISION, "another asset gets the same new key", at=MoveState.PLANNED)]
            )
            self.result.counts["parked:collision"] += 1
            return set()

    def _with_own_key(self, move: Move) -> Move | None:
        """*move* for the key with a suffix, if it is to have one and does not want it already."""
        row = self.context.row_of(move)
        plan = self.context.rules.plan(row) if row is not None and row.key == move.old_key else None
        if plan is None or plan.own_key is None or plan.own_hash is None or plan.own_key == move.new_key:
            return None
        return move._replace(new_key=plan.own_key, new_hash=plan.own_hash)

    def give_back(self, *, due_in: float = 0.0, hinted: bool = False) -> None:
        """Release all moves without an outcome; *hinted*: they are sent again at once."""
        left, self._left = self.left, {}
        if left:
            self.context.moves.release(self.lease, left, due_in=due_in, hinted=hinted)
            self.result.again += [move.id for move in left if hinted and move.run_no == self.run.no]
            self.result.counts["given back"] += len(left)
            self.given_back += len(left) if hinted else 0


def _see_credentials(context: Context) -> None:
    try:
        context.store.list_page(prefix=RESERVED_PREFIX, start_after="", limit=1)
    except CredentialsError as error:
        remedy = "mend REKEY_S3_ACCESS_KEY and REKEY_S3_SECRET_KEY, and start the workers anew"
        raise StoreUnavailableError(f"it refuses these credentials, whatever they ask for ({error.detail}): {remedy}") from error
    except ObjectError:  # one that may not list is known, at least
        return
