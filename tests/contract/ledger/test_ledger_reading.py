"""Reading a run's moves for a report, on each database: all of them, once, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.errors import DatabaseUnavailableError
from app.ledger.reading import TRIES, ReportLedger
from app.states import MoveState, RunKind
from tests.builders import make_plan, make_run

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from app.ledger.records import Run
    from app.stages.context import Context

ROWS = 25
PARKED = (3, 4, 20)


@pytest.fixture
def run(context: Context) -> Run:
    """A run of ROWS moves, with the odd keys that a column may hold."""
    run = make_run(context)
    keys = {number: f"up/{number} \N{SNOWMAN} 'x' \"y\" \\ %.png" for number in range(1, ROWS + 1)}
    plans = [
        make_plan(number, rules=context.rules, old_key=key, reason="denied" if number in PARKED else None) for number, key in keys.items()
    ]
    for start in range(0, ROWS, 10):
        now = context.runs.get(run.id)
        page = plans[start : start + 10]
        assert context.plans.insert_page(now, page, in_place=set(), cursor=page[-1].row_id, grace_seconds=0)
    return context.runs.get(run.id)


@pytest.mark.parametrize("window", [1, 7, 10, 25, 1000])
def test_pages_hold_every_move_once_in_order(engine: Engine, run: Run, window: int) -> None:
    """Whatever the length of a page."""
    pages = list(ReportLedger(engine).pages(run, ("id", "old_key", "state"), window=window))

    rows = [row for page in pages for row in page]
    assert [row.id for row in rows] == list(range(1, ROWS + 1))
    assert rows[6].old_key == "up/7 \N{SNOWMAN} 'x' \"y\" \\ %.png"
    assert all(0 < len(page) <= window for page in pages)


def test_filter_gives_only_the_states_asked_for(engine: Engine, run: Run) -> None:
    """Windows without any are no page."""
    pages = list(ReportLedger(engine).pages(run, ("row_id", "reason"), states={MoveState.PARKED}, window=5))

    assert [[(row.row_id, row.reason) for row in page] for page in pages] == [[("[3]", "denied"), ("[4]", "denied")], [("[20]", "denied")]]


def test_moves_of_another_run_are_not_in_it(engine: Engine, run: Run, context: Context) -> None:
    """A ledger keeps all runs."""
    other = context.runs.create(bucket="b", table_name="t", settings={}, capabilities=_of(run), rows=0, user="u", version="0")

    assert list(ReportLedger(engine).pages(other, ("id",))) == []
    assert ReportLedger(engine).run_id(other.no) == other.id
    assert ReportLedger(engine).run_id(other.no + 1000) is None


def test_moves_of_a_rollback_in_part_are_all_there(engine: Engine, run: Run, context: Context) -> None:
    """They have the numbers of the moves that they take back, which lie anywhere."""
    taken = [20, 23]
    back = context.runs.create(
        bucket="b",
        table_name="t",
        settings={},
        capabilities=_of(run),
        rows=2,
        user="u",
        version="0",
        kind=RunKind.ROLLBACK,
        origin_no=run.no,
    )
    page = context.moves.load(run, taken)
    assert context.rollbacks.insert_page(back, page, cursor="[23]", grace_seconds=0)

    assert [row.id for page in ReportLedger(engine).pages(back, ("id",), window=5) for row in page] == taken


def test_page_is_read_again_after_an_outage(engine: Engine, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """By id, so nothing comes twice; an outage that lasts is told."""
    waits: list[float] = []
    ledger = ReportLedger(engine, sleep=waits.append)
    read = ledger._rows
    broken = {2: 3, 4: TRIES - 1}
    asked = {"n": 0}

    def sometimes(statement: object) -> object:
        number = asked["n"]
        if broken.get(number, 0) > 0:
            broken[number] -= 1
            raise DatabaseUnavailableError("away")
        asked["n"] += 1
        return read(statement)

    monkeypatch.setattr(ledger, "_rows", sometimes)
    rows = [row.id for page in ledger.pages(run, ("id",), window=5) for row in page]

    assert rows == list(range(1, ROWS + 1))
    assert waits[:3] == [1.0, 2.0, 4.0]
    assert 50 < sum(waits[3:]) < 90
    asked["n"], broken[1] = 0, TRIES
    with pytest.raises(DatabaseUnavailableError):
        list(ledger.pages(run, ("id",), window=5))


def _of(run: Run) -> dict[str, bool]:
    return {name: getattr(run.capabilities, name) for name in run.capabilities.__slots__}
