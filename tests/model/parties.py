"""The parties of a schedule: workers, the reconciler, the application, the network and time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from app.errors import RekeyError
from app.ledger.reopening import Selection
from app.pipeline import BY_NAME, SEED
from app.reconcile import reconcile
from app.stages.own_stage import call_own_stage
from app.stages.runner import run_stage
from app.stages.seed_moves import seed_moves
from app.states import RunState
from tests.builders import HOST
from tests.model.actors import On
from tests.model.application import Application
from tests.model.choices import CRASH
from tests.model.contents import DELAYED, QUEUE, ROW_DUE, TABLE, UPLOADS
from tests.model.worlds import CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.pipeline import MoveStage

TWICE = "the message stays and comes again"
LOST = "the message is lost"


def _later(until: float, clock: tuple[float, float]) -> bool:
    return clock[0] >= until


def _in_time(passing: float, clock: tuple[float, float], row_due: float | None) -> bool:
    return row_due is None or clock[0] + passing <= row_due


@dataclass(frozen=True, slots=True)
class Parties(Application):
    """Spawns the parties of one schedule."""

    # Workers

    def worker(self, stage: str, *, name: str = "") -> None:
        """A worker of *stage*, which takes messages as long as there are any."""
        self._serve(name or stage, stage, lambda ids, context: self._stage(stage, ids, context))

    def own(self, *, calls: int) -> None:
        """A worker of the operator's own stage, which is sent what is to be seen so often."""
        self.ground.oracles.tools.add("own")

        def body() -> None:
            context = self.ground.worker()
            for number in range(calls):
                self.execution.point("take a message of the own stage", yields=True, carries=(number, self.ground.tokens_made()))
                run = context.runs.find(self.ground.run_id)
                if run is not None:
                    call_own_stage(run, [1], context=context)

        self.execution.spawn("own", body)

    def seed(self, *, name: str = "seed") -> None:
        """A worker of the seed."""
        self._serve(name, "seed", self._seed)

    def beat(self, *, ticks: int) -> None:
        """The reconciler; a tick comes once 5 s have passed."""
        clock = self.ground.clock

        def body() -> None:
            context, last = self.ground.worker(), clock.boot()
            for number in range(ticks):
                carries = number, last, repr(context.runs._seen), repr(context.runs._spared)
                self.execution.point("tick", ready=On((CLOCK,), partial(_later, last + 5)), carries=carries)
                last = clock.boot()
                found = reconcile(self.ground.context.runs.get(self.ground.run_id), context=context, host=HOST)
                for stage, ids in found.messages:
                    self._send(stage, ids)
                if found.seed:
                    self._send(None, [])

        self.execution.spawn("beat", body)

    def hint(self, stage: str, *ids: int, times: int = 1) -> None:
        """More messages, behind those that are there: hints of the reconciler, doubles, left over from yesterday (S6).

        A worker takes its next message whenever it likes, so that each may as well have come only then.
        """
        self.ground.messages += [(BY_NAME.get(stage), list(ids)) for _ in range(times)]
        self.execution.begin_from_here()

    def gone(self, number: int) -> None:
        """Somebody has removed the object that a row names, before the schedule begins; the row is left for later (H24)."""
        ground = self.ground
        ground.truth.dropped(ground.truth.rows.pop(number))
        ground.store.app_delete(ground.keys()[number])
        self.execution.begin_from_here()

    def time(self, *seconds: float) -> None:
        """Time that passes, in such steps, whenever it likes: whoever stands before a call then was stopped for so long."""

        def body() -> None:
            for number, passing in enumerate(seconds):
                in_time = On((CLOCK, ROW_DUE), partial(_in_time, passing))
                self.execution.point(f"{passing:g} s pass", yields=True, ready=in_time, carries=number)
                self.ground.clock.advance(passing)

        self.execution.spawn("time", body)

    def network(self) -> None:
        """Lets requests arrive that were held up."""

        def body() -> None:
            while True:
                self.execution.point("a request was held up", (DELAYED, True), ready=On((DELAYED,), bool), carries=())
                request = self.ground.store.delayed.pop(0)
                self.execution.point(f"{request.name} {request.key} arrives", (UPLOADS, True))
                request.deliver()

        self.execution.spawn("network", body)

    def operator(self, *acts: str) -> None:
        """The operator's commands, one after the other, whenever it is: pause, resume, cancel, retry, release, as the commands do it."""

        def body() -> None:
            context = self.ground.worker()
            for number, act in enumerate(acts):
                self.execution.point(f"rekey {act}", yields=True, carries=number)
                run = context.runs.get(self.ground.run_id)
                if act == "cancel":
                    context.reopening.cancel(run)
                elif act == "retry":
                    context.reopening.retry(run, Selection())
                elif act == "release":
                    context.reopening.release(run, most=None)
                else:
                    to, since = (RunState.PAUSED, RunState.RUNNING) if act == "pause" else (RunState.RUNNING, RunState.PAUSED)
                    if act == "resume":
                        context.ladders.resume(run, failed=0)
                    context.runs.set_state(run, to, only_from=since)

        self.execution.spawn("operator", body)

    def late_message(self, stage: str, run_id: str, *ids: int) -> None:
        """A worker gets a message of another run, whenever it likes (S6)."""
        self.ground.oracles.tools.add("late")

        def body() -> None:
            context = self.ground.worker()
            self.execution.point(f"a late message for {stage} comes", yields=True)
            run = context.runs.find(run_id)
            if run is not None:
                run_stage(stage, BY_NAME[stage].work, run, ids, context=context)

        self.execution.spawn("late", body)

    def restore(self) -> None:
        """The database is set back to what it was when the schedule began, whenever it is (H15)."""
        tables = [(name, True) for name in self.ground.place.names() if name.startswith(TABLE)]

        def body() -> None:
            self.execution.point("the database is restored from a back-up", *tables, yields=True)
            self.ground.restore()
            for key in self.ground.keys().values():
                self.ground.touches(key)

        self.execution.spawn("operator", body)

    def clock_jumps(self, seconds: float) -> None:
        """The database's clock is set wrong, whenever it is (H16)."""

        def body() -> None:
            self.execution.point(f"the database's clock jumps by {seconds:g} s", yields=True)
            self.ground.database_clock.skew += seconds

        self.execution.spawn("clock", body)

    def party(self, name: str, *acts: Callable[[], object]) -> None:
        """Some acts of the application, one after the other."""
        self.execution.spawn(name, lambda: [act() for act in acts])

    # Inside

    def _serve(self, name: str, stage: str, act: Callable[[list[int], object], None]) -> None:
        self.ground.oracles.tools.add(name)
        mine, queue = BY_NAME.get(stage), f"{QUEUE}{stage}"

        def body() -> None:
            context = self.ground.worker()
            while True:
                carries = repr(context.watch._known), repr(context.pace._sizes), repr(context.moves._active), self.ground.tokens_made()
                fault = self.execution.point(
                    "take a message", (queue, True), ready=On((queue,), bool), faults=(TWICE, LOST), yields=True, carries=carries
                )
                message = next(message for message in self.ground.messages if message[0] is mine)
                if fault != TWICE:
                    self.ground.messages.remove(message)
                if fault == LOST:
                    continue
                try:
                    act(message[1], context)
                except RekeyError:  # as tasks.messages.work: the ledger has the moves due again
                    continue

        self.execution.spawn(name, body)

    def _stage(self, stage: str, ids: Sequence[int], context: object) -> None:
        work = BY_NAME[stage]
        run = context.runs.find(self.ground.run_id)  # type: ignore[attr-defined]
        result = run_stage(stage, work.work, run, ids, context=context)  # type: ignore[arg-type]
        if result.ready and work.next:
            self._send(BY_NAME[work.next], result.ready)
        if result.again:
            self._send(work, result.again)
            self.ground.sleep(0.25)  # else what is only sent again and again takes no time

    def _seed(self, _ids: Sequence[int], context: object) -> None:
        run = context.runs.find(self.ground.run_id)  # type: ignore[attr-defined]
        seeded = seed_moves(run, context=context)  # type: ignore[arg-type]
        for ids in seeded.batches:
            self._send(BY_NAME[SEED.next or ""], ids)
        if seeded.more:
            self._send(None, [])

    def _send(self, stage: MoveStage | None, ids: Sequence[int]) -> None:
        name = stage.name if stage else "seed"
        fault = self.execution.point(f"send {name} {list(ids)}", (f"{QUEUE}{name}", True), faults=(CRASH, LOST))
        if fault != LOST:
            self.ground.messages.append((stage, list(ids)))
