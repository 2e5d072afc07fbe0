"""What the stages work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from app.assets import AssetRow, Assets
from app.byte_budget import Budget, ByteBudget
from app.clock import Clock
from app.copying import is_equal
from app.database import transaction
from app.errors import TransientError
from app.ledger.canaries import CanaryLedger
from app.ledger.ladders import LadderLedger
from app.ledger.moves import MoveLedger
from app.ledger.outages import OutageLedger
from app.ledger.plans import PlanLedger
from app.ledger.queues import QueueLedger
from app.ledger.records import Move, Run
from app.ledger.reopening import ReopenLedger
from app.ledger.rollbacks import RollbackLedger
from app.ledger.runs import RunLedger
from app.ledger.steering import SteerLedger
from app.ledger.throttles import ThrottleLedger
from app.ledger.uploads import UploadLedger
from app.ledger.visits import VisitLedger
from app.look_costs import Costs
from app.object_store import ObjectStore, ReadObject
from app.planning import Rules
from app.settings import Settings
from app.stages.crowd import Crowd
from app.stages.in_flight import InFlight
from app.stages.outages import Outages
from app.stages.pace import Pace
from app.stages.pages_ahead import PagesAhead
from app.stages.small_share import SmallShare
from app.stages.tally import Tally
from app.stages.watch import RunWatch

GONE_SECONDS = 10  # an object is gone only if looks so far apart miss it: a present one may answer 404 for a moment (case 16)


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
    outages: Outages = field(default_factory=Outages)
    costs: Costs = field(default_factory=Costs)  # of looks at the run's store
    small: SmallShare = field(default_factory=SmallShare)  # of the run's objects
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

    def row_of(self, move: Move) -> AssetRow | None:
        """The row of *move* as it is now."""
        with transaction(self.moves.engine, read_only=True) as connection:
            return self.assets.rows(connection, [move.row_id]).get(move.row_id)

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
            store=self.store,
            throttles=lambda: self.throttles,
        )

    def see(self, run: Run, stage: str, *, outage: TransientError | None, taken: int) -> None:
        """Tell the ledger where *stage* has stood before a store that gives it nothing, and where that is over."""
        self.outages.see(run, stage, outage=outage, taken=taken, now=self.clock.boot(), ledger=OutageLedger(self.moves.engine))

    def rate(self, run: Run, stage: str) -> int:
        """Most moves of *stage* a second, of all workers together: what was set, or the reconciler has decided; 0: no bound."""
        bounds = (int(getattr(self.settings, f"{stage}_rate", 0)), self.watch.rate(run, stage))
        return min((bound for bound in bounds if bound), default=0)
