"""What a stage works with, and what it makes of a batch of moves."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sqlalchemy import exc

from app import backoff
from app.assets import Assets
from app.byte_budget import Budget, ByteBudget
from app.clock import Clock
from app.copying import is_equal
from app.database import transaction
from app.errors import (
    ArchivedError,
    BadKeyError,
    DatabaseUnavailableError,
    DeniedError,
    EncryptedError,
    FidelityError,
    LeaseLostError,
    LockedError,
    ObjectError,
    UnansweredError,
)
from app.ledger.canaries import CanaryLedger
from app.ledger.ladders import LadderLedger
from app.ledger.moves import MoveLedger, check_arrow
from app.ledger.plans import PlanLedger
from app.ledger.queues import QueueLedger
from app.ledger.records import Lease, Move, Outcome, Run
from app.ledger.reopening import ReopenLedger
from app.ledger.rollbacks import RollbackLedger
from app.ledger.runs import RunLedger
from app.ledger.steering import SteerLedger
from app.ledger.throttles import ThrottleLedger
from app.ledger.uploads import UploadLedger
from app.ledger.visits import VisitLedger
from app.look_costs import Costs
from app.object_store import ObjectStore, ReadObject
from app.planning import Rules, printable
from app.settings import Settings
from app.stages.crowd import Crowd, Place
from app.stages.in_flight import InFlight
from app.stages.pace import Pace
from app.stages.pages_ahead import PagesAhead
from app.stages.tally import Tally
from app.stages.watch import RunWatch
from app.states import MoveState, ParkedReason

_JITTER = random.Random()  # noqa: S311 - spreads retries, keeps no secret
LOOK_AGE_SECONDS = 5.0  # a look at the store or at the rows is this old at most when the request that relies on it is signed (S4, H3)
GONE_SECONDS = 10  # an object is gone only if looks so far apart miss it: a present one may answer 404 for a moment (case 16)
CHANGES_AN_ATTEMPT = 4  # a service may well write an asset a few times while it is moved; only endless change is given up
TASK_SECONDS = 5.0  # after about so long a task gives the rest back, so that pause and stop are heard (design section 6)
FLUSH_SECONDS = 1.0
LONGEST_DETAIL = 2500  # room for a reason and two whole keys; characters of an error's text in the ledger (H28)

_REASONS: tuple[tuple[type[ObjectError], ParkedReason], ...] = (
    (DeniedError, ParkedReason.DENIED),
    (LockedError, ParkedReason.LOCKED),
    (ArchivedError, ParkedReason.ARCHIVED),
    (EncryptedError, ParkedReason.ENCRYPTED),
    (BadKeyError, ParkedReason.BAD_NAME),
    (FidelityError, ParkedReason.FIDELITY),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The collaborators of the stages for one run; ``settings`` are the run's own where they differ from the worker's."""

    store: ObjectStore
    assets: Assets
    moves: MoveLedger
    runs: RunLedger
    plans: PlanLedger
    queues: QueueLedger
    rules: Rules
    settings: Settings
    clock: Clock
    budget: Budget
    stopping: Callable[[], bool]
    steering: SteerLedger
    reopening: ReopenLedger
    rollbacks: RollbackLedger
    watch: RunWatch
    wait: Callable[[float], object]  # sleeps so many seconds, less if the worker stops
    room: ByteBudget  # of moves, not bytes: those that the tasks of this process hold beyond a few each
    pace: Pace = field(default_factory=Pace)
    crowd: Crowd = field(default_factory=Crowd)
    tally: Tally = field(default_factory=Tally)
    costs: Costs = field(default_factory=Costs)  # of looks at the run's store
    in_flight: InFlight = field(default_factory=partial(InFlight, seconds=0))  # of the run's moves, as the seed knows it
    pages: PagesAhead | None = None  # of rows, for the seed; None: it reads each when it comes to it
    told: set[str] = field(default_factory=set)  # what this process has said in its log, and need not say each tick

    @property
    def uploads(self) -> UploadLedger:
        """The multipart uploads under way."""
        return UploadLedger(self.moves.engine)

    @property
    def ladders(self) -> LadderLedger:
        """The steps in which runs come to all of their rows."""
        return LadderLedger(self.moves.engine)

    @property
    def visits(self) -> VisitLedger:
        """What the operator's own stage has still to see."""
        return VisitLedger(self.moves.engine)

    @property
    def throttles(self) -> ThrottleLedger:
        """What holds runs back."""
        return ThrottleLedger(self.moves.engine)

    @property
    def canaries(self) -> CanaryLedger:
        """What canary reads have seen."""
        return CanaryLedger(self.moves.engine)

    def read_if_equal(self, move: Move) -> tuple[ReadObject, ReadObject] | None:
        """What is at the old and at the new key of *move*, as read, if the one is equal to the other; else None."""
        return is_equal(
            self.store,
            move.old_key,
            move.new_key,
            max_bytes=self.settings.inline_bytes,
            budget=self.budget,
            policy=self.settings.fidelity_policy,
            joined=self.uploads.joined(move),
        )

    def concurrency(self, stage: str) -> int:
        """Most requests of *stage* that this process has under way."""
        return int(getattr(self.settings, f"{stage}_concurrency", 1))

    def note(self, run: Run, stage: str, *, outcomes: int, failed: int, taken: int = 0) -> None:
        """Count so many outcomes of *stage*, of *taken* moves, and tell the ledger of them now and then."""
        self.tally.add(
            run,
            stage=stage,
            outcomes=outcomes,
            failed=failed,
            taken=taken,
            now=self.clock.boot(),
            store=self.store.reading,
            throttles=lambda: self.throttles,
        )

    def rate(self, run: Run, stage: str) -> int:
        """Most moves of *stage* a second, of all workers together: what was set, or the reconciler has decided; 0: no bound."""
        bounds = (int(getattr(self.settings, f"{stage}_rate", 0)), self.watch.rate(run, stage))
        return min((bound for bound in bounds if bound), default=0)


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
        self.add(Outcome(move=move._replace(detail=clean(str(error))), keep_lease=True), say="unanswered")

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
        with transaction(self.context.moves.engine, read_only=True) as connection:
            row = self.context.assets.rows(connection, [move.row_id]).get(move.row_id)
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


def park(move: Move, reason: ParkedReason, detail: str, *, at: MoveState | None = None) -> Outcome:
    """Park *move*, keeping the state that it was parked in (H17)."""
    return Outcome(
        move=move._replace(state=MoveState.PARKED, parked_from=at or move.state, reason=reason, detail=clean(detail), waiting=False)
    )


def refused(move: Move, error: ObjectError, *, settings: Settings) -> Outcome:
    """What the store's refusal makes of *move*: parked for good reasons at once, for others after so many recorded errors (S8)."""
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return park(move, reason, str(error))
    return failed(move, str(error), settings=settings)


def failed(move: Move, detail: str, *, settings: Settings) -> Outcome:
    """Record an error: tried again after a while, parked once there are MAX_ATTEMPTS of them (S8)."""
    attempts = move.attempts + 1
    if attempts >= settings.max_attempts:
        return park(move, ParkedReason.FAILED, detail)
    wait = backoff.delay(attempts, base=1.0, cap=60.0, jitter=_JITTER)
    return Outcome(move=move._replace(attempts=attempts, detail=clean(detail)), due_in=wait)


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
