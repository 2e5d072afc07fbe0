"""What operators and seeds do to a ledger, in any order."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from app.database import transaction
from app.errors import UsageError
from app.ledger.records import Run
from app.ledger.reopening import Selection
from app.states import RELEASABLE, ParkedReason, RunKind, RunState
from tests.builders import make_plan
from tests.property.ledger_checks import Checks
from tests.property.ledger_model import Entry, RefusedError, Row, RunEntry

TABLES = ("assets", "files")
OLD = tuple(f"up/{number}" for number in range(6))
NEW = (*(f"new/{number}" for number in range(8)), *OLD[:3])  # some new keys are the old ones of others: these wait
MAX_PASSES = 2


class Runs(Checks):
    """Runs are begun, seeded and steered."""

    # Runs and seed

    @initialize(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """There is something to do."""
        self.open_run("assets")
        self.seed(data)

    @rule(table=st.sampled_from(TABLES))
    def open_run(self, table: str) -> None:
        """One live run a table."""
        self._create(table)

    def _create(self, table: str, **more: Any) -> Run | None:  # noqa: ANN401 - other columns
        def create() -> Run:
            return self.context.runs.create(
                bucket="b",
                table_name=table,
                settings={},
                capabilities=dataclasses.asdict(self.context.store.capabilities),
                rows=0,
                user="u",
                version="0",
                **more,
            )

        if self.model.live_on(table):
            with pytest.raises(UsageError):
                create()
            return None
        run = create()
        self.model.begin(run.no, table, origin=more.get("origin_no"))
        self.ids[run.no] = run.id
        self.seen[run.no] = []
        self._read(run.no)
        return run

    @rule(data=st.data())
    def seed(self, data: st.DataObject) -> None:
        """A page of rows, by a seed that may be behind."""
        run, seen = self._run(data, stale=True)
        if run.kind is RunKind.ROLLBACK:
            self._seed_back(run, seen)
            return
        page: list[Row] = []
        for kind in data.draw(st.lists(st.sampled_from(("moves", "moves", "moves", "in_place", "bad_name")), min_size=1, max_size=5)):
            row = Row(row=f"[{self.next_row}]", old=data.draw(st.sampled_from(OLD)), new=data.draw(st.sampled_from(NEW)))
            if kind == "in_place":
                row.old, row.in_place = row.new, True
            if kind == "bad_name":
                row.new, row.reason = "", kind
            page.append(row)
            self.next_row += 1
        cursor = page[-1].row
        plans = [
            make_plan(
                0,
                rules=self.context.rules,
                row_id=row.row,
                old_key=row.old,
                new_key=row.new,
                in_place=row.in_place,
                reason=ParkedReason(row.reason) if row.reason else None,
            )
            for row in page
        ]
        wanted = self.model.seed(run.no, page, seen=seen, cursor=cursor)
        in_place = {row.row for row in page if row.in_place}
        planned = self.context.plans.insert_page(run, plans, in_place=in_place, cursor=cursor, grace_seconds=1)

        assert (planned.copy_ids if planned else None) == wanted
        with transaction(self.ground.engine, read_only=True) as connection:
            names = [row.row for row in page] + ["[0]"]
            assert self.context.plans.unplanned(connection, run, names) == set(names) - {each.row for each in self.model.of(run.no)}

    def _seed_back(self, run: Run, seen: RunEntry) -> None:
        """The next page of a rollback; the end of its seed after the last one."""
        after = int(run.seed_cursor or 0)
        found = [entry for entry in self.model.switched(run.origin_no or 0) if entry.id > after][:3]
        with transaction(self.ground.engine, read_only=True) as connection:
            page, _ = self.context.rollbacks.page(connection, run.origin_no or 0, after=after, limit=3, clients=())
        assert [move.id for move in page] == [entry.id for entry in found]
        if page:
            wanted = self.model.seed_back(run.no, found, seen=seen, cursor=str(found[-1].id))
            planned = self.context.rollbacks.insert_page(run, page, cursor=str(page[-1].id), grace_seconds=1)
            assert (planned.copy_ids if planned else None) == wanted
        else:
            self._end_pass(run, seen)

    @rule(data=st.data())
    def end_pass(self, data: st.DataObject) -> None:
        """The table's end was reached."""
        self._end_pass(*self._run(data, stale=True))

    def _end_pass(self, run: Run, seen: RunEntry) -> None:
        passes = 1 if run.kind is RunKind.ROLLBACK else MAX_PASSES

        assert self.context.plans.end_pass(run, max_passes=passes) == self.model.end_pass(run.no, seen=seen, most=passes)

    # The operator

    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        """And its resumption."""
        run, _ = self._run(data)
        state = self.model.runs[run.no]
        assert self.context.runs.set_state(run, RunState.PAUSED, only_from=RunState.RUNNING) == (state.state == "running")
        state.state = "paused" if state.state == "running" else state.state
        self._read(run.no)

    @precondition(lambda self: any(each.state == "paused" for each in self.model.runs.values()))
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        """What had a message is due."""
        self._resume(self._run(data)[0])

    def _resume(self, run: Run) -> None:
        state = self.model.runs[run.no]
        resumed = self.context.runs.set_state(run, RunState.RUNNING, only_from=RunState.PAUSED)
        assert resumed == (state.state == "paused")
        if resumed:
            state.state = "running"
            self.context.queues.forget_hints(run)
            self.model.resume(run.no)

    @precondition(lambda self: len(self.states) > 6)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """For good."""
        run, _ = self._run(data)
        assert self.context.reopening.cancel(run) == self.model.cancel(run.no)

    @precondition(lambda self: self.anything(lambda each: each.state == "parked"))
    @rule(data=st.data(), reasons=st.lists(st.sampled_from([str(reason) for reason in ParkedReason]), max_size=3))
    def retry(self, data: st.DataObject, reasons: list[str]) -> None:
        """Parked moves go on where they stood."""
        run, seen = self._run(data)
        chosen = [each for each in self.model.of(run.no) if each.state == "parked" and (not reasons or each.reason in reasons)]
        counted = self.context.reopening.parked(run, Selection(reasons=reasons))
        assert counted == Counter(entry.reason for entry in chosen)
        if not (seen.state == "cancelled" and seen.is_live):
            self._send_on(run, chosen, None, lambda: self.context.reopening.retry(run, Selection(reasons=reasons)))

    @precondition(lambda self: self.anything(lambda each: each.state == "kept"))
    @rule(data=st.data(), most=st.sampled_from((None, 1, 2)))
    def release(self, data: st.DataObject, most: int | None) -> None:
        """Held old objects may go."""
        run, seen = self._run(data)
        chosen = [each for each in self.model.of(run.no) if each.state == "kept" and each.reason in RELEASABLE]
        assert sum(self.context.reopening.releasable(run).values()) == len(chosen)
        if not (seen.state == "cancelled" and seen.is_live):
            self._send_on(run, chosen, most, lambda: self.context.reopening.release(run, most=most))

    def _send_on(self, run: Run, chosen: list[Entry], most: int | None, act: Callable[[], Any]) -> None:
        try:
            wanted = self.model.send_on(run.no, chosen, most=most)
        except RefusedError:
            with pytest.raises(UsageError):
                act()
            return
        sent = act()
        assert (sent.moves, sent.blocked) == wanted

    @precondition(lambda self: any(not each.is_live for each in self.model.runs.values()))
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        """Take a run that has ended back."""
        run, seen = self._run(data)
        if run.kind is RunKind.MOVE and not seen.is_live:
            found = self.context.rollbacks.undoable(run)
            assert found.total == len(self.model.switched(run.no))
            self._create(run.table_name, kind=RunKind.ROLLBACK, origin_no=run.no)
