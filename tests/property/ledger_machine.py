"""The ledger against its plain model: any order of what workers, reconciler and operators do to it, with time passing in between.

After every step the rows of the database are what the model says, and the promises of the contract are looked at by themselves.
"""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from app.ledger.records import Move, Outcome, Run
from app.states import KeptReason, MoveState, ParkedReason, RunKind, RunState
from tests.property.ledger_checks import STAGES, Ground
from tests.property.ledger_model import STAGE_OF, RunEntry
from tests.property.ledger_workers import Workers, moved_on

MAX_DEATHS = 2
ROUNDS = 12  # of an hour each, until a run must have ended

__all__ = ["Ground", "LedgerMachine", "play"]


class LedgerMachine(Workers):
    """The reconciler's part, and runs that come to their end."""

    @precondition(lambda self: self.anything(lambda each: each.is_due(self.model.now)))
    @rule(data=st.data(), most=st.sampled_from((1, 2, 100)))
    def hint(self, data: st.DataObject, most: int) -> None:
        """What is due is sent again."""
        run, _ = self._run(data, busy=True)
        stage = self._stage(data, run)
        suspects = self._suspects(data, run)
        state = next(MoveState(state) for state, of in STAGE_OF.items() if of == stage)
        taken = self.context.queues.take_due(run, stage=stage, state=state, limit=most, suspects=suspects)

        assert taken == self.model.take_due(run.no, stage=stage, most=most, suspects=suspects)

    @precondition(lambda self: self.anything(lambda each: each.is_lost(self.model.now)))
    @rule(data=st.data())
    def bury(self, data: st.DataObject) -> None:
        """Leases that were lost."""
        self._bury(self._run(data, busy=True)[0])

    def _bury(self, run: Run) -> None:
        assert self.context.queues.mark_suspects(run, max_deaths=MAX_DEATHS) == self.model.bury(run.no, most=MAX_DEATHS)
        self.ledger_says_what_the_model_says()

    @precondition(lambda self: self.anything(lambda each: each.waiting))
    @rule(data=st.data())
    def end_waiting(self, data: st.DataObject) -> None:
        """Only waiting moves are left."""
        self._end_waiting(self._run(data)[0])

    def _end_waiting(self, run: Run) -> None:
        if self.context.queues.is_waiting(run) and not self.context.queues.is_going(run):
            assert self.context.queues.end_waiting(run) == self.model.end_waiting(run.no)

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """Perhaps the last move has ended."""
        run, seen = self._run(data)
        if run.state is RunState.CANCELLED:
            assert self.context.reopening.end_cancelled_moves(run) == self.model.end_cancelled(run.no)
        self._end(run, seen)

    def _end(self, run: Run, seen: RunEntry) -> bool:
        if run.state is not RunState.CANCELLED and not (run.state is RunState.RUNNING and seen.seeded):
            return False
        ended = self.context.runs.end(run)
        assert ended == self.model.end(run.no)
        return ended

    @precondition(lambda self: self.anything(lambda each: each.is_open))
    @rule(data=st.data())
    def long_silence(self, data: st.DataObject) -> None:
        """All messages are lost and all workers dead for an hour: then every open move is due again, none is forgotten (S6)."""
        self.later(3600)
        run, _ = self._run(data, busy=True)
        self._bury(run)
        due = [
            move_id
            for stage, state in (("copy", "planned"), ("rename", "copied"), ("delete", "renamed"))
            for suspects in (False, True)
            for move_id in self.context.queues.take_due(run, stage=stage, state=MoveState(state), limit=1000, suspects=suspects)
        ]

        assert sorted(due) == [entry.id for entry in self.model.of(run.no) if entry.is_open]
        for stage in STAGES:
            for suspects in (False, True):
                self.model.take_due(run.no, stage=stage, most=1000, suspects=suspects)

    # Whole runs

    @precondition(lambda self: any(each.is_live for each in self.model.runs.values()))
    @rule(data=st.data())
    def come_to_an_end(self, data: st.DataObject) -> None:
        """A run ends with outcomes of any kind, so that there is something to retry, to release and to take back."""
        live = sorted(each.no for each in self.model.runs.values() if each.is_live)
        self._finish(data.draw(st.sampled_from(live)), data)

    def teardown(self) -> None:
        """Whatever has happened: once workers and reconciler do their work again, each run ends (S9)."""
        for run in self.model.runs.values():
            if run.is_live:
                self._finish(run.no, None)
        self.ledger_says_what_the_model_says()

    def _finish(self, no: int, data: st.DataObject | None) -> None:
        for _ in range(ROUNDS):
            self.later(3600)
            run = self._read(no)
            if run.state is RunState.PAUSED:
                self._resume(run)
                run = self._read(no)
            if run.state is RunState.CANCELLED:
                assert self.context.reopening.end_cancelled_moves(run) == self.model.end_cancelled(no)
            elif run.kind is RunKind.MOVE:
                self._end_pass(run, self.seen[no][-1][1])
            else:
                self._seed_back(run, self.seen[no][-1][1])
            self._bury(run)
            self._end_waiting(run)
            for state, suspects in itertools.product(("planned", "copied", "renamed"), (False, True)):
                self._send_and_do(run, state, suspects=suspects, data=data)
            if self._end(self._read(no), self.seen[no][-1][1]):
                return
        assert data is not None, f"run {no} does not end: {[each for each in self.model.of(no) if each.is_open]}"

    def _send_and_do(self, run: Run, state: str, *, suspects: bool, data: st.DataObject | None) -> None:
        ids = self.context.queues.take_due(run, stage=STAGE_OF[state], state=MoveState(state), limit=100, suspects=suspects)
        assert ids == self.model.take_due(run.no, stage=STAGE_OF[state], most=100, suspects=suspects)
        for some in [[each] for each in ids] if suspects else [ids]:  # a suspect runs alone
            holding = self._claim(run, some, stage=STAGE_OF[state], seconds=30, suspects=suspects) if some else None
            if holding is not None:
                self._record(holding, [self._ended(run, move, data) for move in holding.moves.values()])

    def _ended(self, run: Run, move: Move, data: st.DataObject | None) -> Outcome:
        if run.state is RunState.CANCELLED:
            ends: dict[str, Any] = {"state": MoveState.CANCELLED}
            if move.state is MoveState.RENAMED:
                ends = {"state": MoveState.KEPT, "reason": KeptReason.CANCELLED}
            return Outcome(move=move._replace(**ends))
        if data is None or data.draw(st.booleans()):
            return moved_on(move)
        if move.state is MoveState.RENAMED and data.draw(st.booleans()):
            return Outcome(move=move._replace(state=MoveState.KEPT, reason=KeptReason.HELD))
        return Outcome(move=move._replace(state=MoveState.PARKED, parked_from=move.state, reason=ParkedReason.DENIED, waiting=False))


def play(ground: Ground, *, examples: int, steps: int) -> None:
    """Run the machine on *ground*: the same examples each time."""
    machine = type("Machine", (LedgerMachine,), {"ground": ground})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
