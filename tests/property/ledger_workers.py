"""What workers do to a ledger, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from sqlalchemy import exc

from app.database import transaction
from app.errors import LeaseLostError
from app.ledger.records import Move, Outcome, Run
from app.object_store import ObjectInfo
from app.states import OPEN_STATES, TRANSITIONS, KeptReason, MoveState, ParkedReason, RunKind
from tests.property.ledger_checks import STAGES, Holding
from tests.property.ledger_model import RefusedError
from tests.property.ledger_runs import NEW, Runs

# What a worker makes of a move that it holds; the other arrows are the operator's, or the ledger's own.
BY_WORKERS = {
    state: [after for before, after in TRANSITIONS if before is state and after is not MoveState.ROLLED_BACK] for state in OPEN_STATES
}
SOURCE = ObjectInfo(key="", etag="e", size=1, last_modified=0)


class Workers(Runs):
    """Messages come, new and old; leases are taken, kept, lost and overslept."""

    @rule(data=st.data(), seconds=st.sampled_from((5, 30, 200)))
    def claim(self, data: st.DataObject, seconds: int) -> None:
        """A message, new or old, for any moves."""
        run, _ = self._run(data, stale=True, busy=True)
        stage = data.draw(st.sampled_from(STAGES))
        ids = data.draw(st.lists(st.integers(1, self.model.runs[run.no].examined + 1), min_size=1, max_size=6, unique=True), label="ids")
        self._claim(run, ids, stage=stage, seconds=seconds, suspects=self._suspects(data, run))

    def _claim(self, run: Run, ids: Sequence[int], *, stage: str, seconds: int, suspects: bool) -> Holding | None:
        worker = self.ground.workers[len(self.holdings) % len(self.ground.workers)]
        lease, claimed = worker.moves.claim(
            run, ids, stage=stage, lease_seconds=seconds, store_time=0, clock=self.ground.clock, suspects=suspects
        )
        wanted = self.model.claim(run.no, ids, stage=stage, seconds=seconds, token=lease.token, suspects=suspects, state=str(run.state))

        assert [move.id for move in claimed] == wanted
        if not claimed:
            return None
        held = {(move.run_no, move.id): move for move in claimed}
        self.holdings.append(Holding(worker, lease, held, set(held)))
        return self.holdings[-1]

    @precondition(lambda self: self.anything(lambda each: each.is_open))
    @rule(data=st.data())
    def take_what_is_due(self, data: st.DataObject) -> None:
        """A message for moves that are due."""
        run, _ = self._run(data, busy=True)
        stage = self._stage(data, run)
        ids = [each.id for each in self.model.of(run.no) if each.stage == stage]
        if ids:
            self._claim(run, ids, stage=stage, seconds=30, suspects=self._suspects(data, run))

    @precondition(lambda self: self.anything(lambda each: each.is_open))
    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        """All goes well: what is due for a stage goes on to the next one."""
        run, _ = self._run(data, busy=True)
        stage = self._stage(data, run)
        ids = [each.id for each in self.model.of(run.no) if each.stage == stage]
        holding = self._claim(run, ids, stage=stage, seconds=30, suspects=self._suspects(data, run)) if ids else None
        if holding is not None:
            self._record(holding, [moved_on(move) for move in holding.moves.values()])

    def _holding(self, data: st.DataObject) -> Holding:
        """One of those taken last, or any: an old one is over, or its moves are somebody else's by now."""
        recent = self.holdings[-3:] if data.draw(st.booleans()) else self.holdings
        return recent[data.draw(st.integers(0, len(recent) - 1), label="lease")]

    def _some(self, data: st.DataObject, holding: Holding, *, most: int = 6) -> list[Move]:
        keys = data.draw(st.lists(st.sampled_from(sorted(holding.moves)), min_size=1, max_size=most, unique=True), label="moves")
        return [holding.moves[key] for key in keys]

    @precondition(lambda self: self.holdings)
    @rule(data=st.data())
    def record(self, data: st.DataObject) -> None:
        """Outcomes, by whoever holds a lease, or held one once."""
        holding = self._holding(data)
        self._record(holding, [self._outcome(data, move) for move in self._some(data, holding)])

    def _record(self, holding: Holding, outcomes: Sequence[Outcome]) -> None:
        by_key = {(each.move.run_no, each.move.id): each for each in outcomes}
        wanted = {key for key, each in by_key.items() if self._record_in_model(holding, key, each)}
        with transaction(self.ground.engine) as connection:
            written = holding.worker.moves.record(holding.lease, outcomes, connection=connection)
            for key in written:
                run = self._read(key[0])
                if run.kind is RunKind.ROLLBACK and by_key[key].move.state is MoveState.RENAMED:
                    holding.worker.rollbacks.mark(connection, run, [key[1]])
        holding.believed -= by_key.keys()

        assert written == wanted
        self.ledger_says_what_the_model_says()

    def _outcome(self, data: st.DataObject, move: Move) -> Outcome:
        state = data.draw(st.sampled_from([move.state, *BY_WORKERS[move.state]]), label="becomes")
        changes: dict[str, Any] = {"state": state, "waiting": False}
        if state is MoveState.PARKED:
            changes |= {"parked_from": move.state, "reason": data.draw(st.sampled_from((ParkedReason.DENIED, ParkedReason.FAILED)))}
        elif state is MoveState.KEPT:
            changes |= {"reason": data.draw(st.sampled_from(KeptReason))}
        elif state is MoveState.COPIED:
            changes |= {"source": SOURCE, "copy": SOURCE, "copy_recorded": True}
        elif state is MoveState.PLANNED and move.state is MoveState.PLANNED:
            changes |= {"waiting": data.draw(st.booleans())}
        how = data.draw(st.sampled_from(("now", "later", "hinted", "kept"))) if state in OPEN_STATES else "now"
        return Outcome(
            move=move._replace(**changes),
            due_in=7.0 if how == "later" else 0.0,
            hinted=how == "hinted",
            keep_lease=how == "kept",
        )

    def _record_in_model(self, holding: Holding, key: tuple[int, int], outcome: Outcome, *, new: str | None = None) -> bool:
        move = outcome.move
        done = self.model.record(
            self.model.entries[key],
            token=holding.lease.token,
            state=str(move.state),
            due_in=outcome.due_in,
            hinted=outcome.hinted,
            keep=outcome.keep_lease,
            waiting=move.waiting,
            parked_from=str(move.parked_from) if move.parked_from else None,
            reason=str(move.reason) if move.reason else None,
            new=new,
        )
        origin = self.model.runs[key[0]].origin
        if done and origin is not None and move.state is MoveState.RENAMED:
            gone = self.model.entries[origin, key[1]]
            if gone in self.model.switched(origin):
                gone.become("rolled_back")
        return done

    @precondition(lambda self: self.holdings)
    @rule(data=st.data(), new=st.sampled_from(NEW))
    def plan_again(self, data: st.DataObject, new: str) -> None:
        """The row asks for another new key by now, which somebody else may want."""
        holding = self._holding(data)
        (move,) = self._some(data, holding, most=1)
        if MoveState.PLANNED not in {move.state, *BY_WORKERS[move.state]}:
            return
        again = move._replace(state=MoveState.PLANNED, new_key=new, new_hash=self.context.rules.hash_of(new), waiting=False, follows=False)
        key = (move.run_no, move.id)
        try:
            wanted = {key} if self._record_in_model(holding, key, Outcome(move=again), new=new) else set()
        except RefusedError:
            with pytest.raises(exc.IntegrityError):
                holding.worker.moves.record(holding.lease, [Outcome(move=again)])
            return
        assert holding.worker.moves.record(holding.lease, [Outcome(move=again)]) == wanted
        holding.believed.discard(key)

    @precondition(lambda self: self.holdings)
    @rule(data=st.data(), due_in=st.sampled_from((0.0, 20.0)), hinted=st.booleans())
    def give_back(self, data: st.DataObject, due_in: float, hinted: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
        """Moves without an outcome go back as they were."""
        holding = self._holding(data)
        which = [move for move in self._some(data, holding) if (move.run_no, move.id) in holding.believed]
        holding.worker.moves.release(holding.lease, which, due_in=due_in, hinted=hinted)
        for move in which:
            entry = self.model.entries[move.run_no, move.id]
            if entry.holder == holding.lease.token:
                due = self.model.now + (60 if hinted else due_in)
                entry.free(due=due, not_before=self.model.now + due_in, hints=int(hinted))
            holding.believed.discard((move.run_no, move.id))

    @precondition(lambda self: self.holdings)
    @rule(data=st.data(), due_in=st.sampled_from((0.0, 20.0)))
    def give_up(self, data: st.DataObject, due_in: float) -> None:
        """The worker must exit: what is not kept is everybody's."""
        holding = self._holding(data)
        holding.worker.moves.give_up(holding.lease, due_in=due_in)
        for entry in self.model.held(holding.lease.token):
            if not entry.kept:
                entry.free(due=self.model.now + due_in, not_before=self.model.now + due_in)
        holding.believed.clear()

    @precondition(lambda self: self.holdings)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        """A long copy goes on."""
        holding = self._holding(data)
        if not holding.believed:
            return
        which = [holding.moves[key] for key in sorted(holding.believed)]
        before = holding.lease.ends_at
        try:
            self.model.renew([self.model.entries[move.run_no, move.id] for move in which], token=holding.lease.token, seconds=30)
        except RefusedError:
            with pytest.raises(LeaseLostError):
                holding.worker.moves.renew(holding.lease, which, seconds=30)
            assert holding.lease.ends_at == before
            return
        holding.worker.moves.renew(holding.lease, which, seconds=30)
        assert holding.lease.remaining() == pytest.approx(30)

    @precondition(lambda self: self.holdings)
    @rule(data=st.data())
    def claim_the_family(self, data: st.DataObject) -> None:
        """All live moves of one old object, of any run, are claimed together before it is deleted (H13)."""
        holding = self._holding(data)
        (move,) = self._some(data, holding, most=1)
        with transaction(self.ground.engine, read_only=True) as connection:
            found = holding.worker.moves.sharing_old(connection, [move.old_hash])
        family = [
            each
            for each in self.model.entries.values()
            if each.old == move.old_key and (each.is_open or (each.state == "parked" and each.parked_from == "renamed"))
        ]
        assert sorted((other.run_no, other.id) for other in found) == sorted((each.run, each.id) for each in family)
        if holding.lease.remaining() <= 0 or (move.run_no, move.id) not in holding.believed:
            return
        seconds = min(30.0, holding.lease.remaining())
        joined = holding.worker.moves.claim_others(holding.lease, found, stage="delete", lease_seconds=30)

        assert [(each.run_no, each.id) for each in joined] == self.model.join(
            family, stage="delete", seconds=seconds, token=holding.lease.token
        )
        holding.moves |= {(each.run_no, each.id): each for each in joined}
        holding.believed |= {(each.run_no, each.id) for each in joined if not self.model.entries[each.run_no, each.id].kept}

    @rule(data=st.data(), stage=st.sampled_from(STAGES))
    def defer(self, data: st.DataObject, stage: str) -> None:
        """The stage's rate is used up."""
        run, _ = self._run(data)
        self.context.moves.defer(run, range(1, 4), stage=stage, seconds=3)
        for entry in self.model.of(run.no)[:3]:
            if entry.id < 4 and entry.holder is None and entry.stage == stage:
                entry.free(due=self.model.now + 3, not_before=self.model.now + 3)

    @precondition(lambda self: self.anything(lambda each: each.hints and each.holder is None))
    @rule(data=st.data())
    def unhint(self, data: st.DataObject) -> None:
        """The message could not be sent."""
        run, _ = self._run(data)
        self.context.moves.unhint(run, range(1, 4))
        for entry in self.model.of(run.no)[:3]:
            if entry.id < 4 and entry.holder is None and entry.hints:
                entry.hints, entry.due = 0, self.model.now


def moved_on(move: Move) -> Outcome:
    """The outcome of work that went well."""
    copied: dict[str, Any] = {"state": MoveState.COPIED, "source": SOURCE, "copy": SOURCE, "copy_recorded": True, "waiting": False}
    changes = {
        MoveState.PLANNED: copied,
        MoveState.COPIED: {"state": MoveState.RENAMED},
        MoveState.RENAMED: {"state": MoveState.DELETED},
    }
    return Outcome(move=move._replace(**changes[move.state]), hinted=move.state is not MoveState.RENAMED)
