"""Moves that leave the ledger and come back, on each database: the report's lines, the counts and the rows are the same (app.window)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from app.database import transaction
from app.fidelity_rules import Attribute
from app.ledger.archiving import Archived, ArchiveLedger
from app.ledger.losses import LossLedger, note
from app.ledger.reading import ReportLedger
from app.reporting.lines import COLUMNS, jsonl_lines
from app.schema import moves
from app.window import bring_back, new_session, take_out

if TYPE_CHECKING:
    from tests.builders import World


def test_moves_leave_and_come_back(world: World) -> None:
    """With keys of any letters, a client that has none, what a copy lacks, and a part that another was faster with."""
    for number in range(1, 6):
        world.add(number)
    world.add(6, 'up/o\'clock "é" \\ 6.png')
    world.add(7, body=None)
    world.go()
    with transaction(world.engine) as connection:
        note(connection, {(world.run.no, 2): frozenset({Attribute.TAGS})})
    ledger = ArchiveLedger(world.engine)
    before = (_lines(world), world.report(), LossLedger(world.engine).count(world.run))

    assert take_out(world.run, ledger=ledger, store=world.store, session=new_session(), moves=4) == 6
    assert _count(world) == 1
    assert (_lines(world), world.report() | _times(before[1]), LossLedger(world.engine).count(world.run)) == before
    assert not ledger.take_out(world.run, Archived(), Archived(through=9, parts=1), [])

    assert bring_back(world.run, ledger=ledger, store=world.store) == 6
    assert (_lines(world), _count(world), LossLedger(world.engine).count(world.run)) == (before[0], 7, before[2])


def test_moves_that_changed_since_they_were_read_stay(world: World) -> None:
    """The transaction that takes them out looks at each of them once more."""
    world.add(1)
    world.add(2)
    world.go()
    ledger = ArchiveLedger(world.engine)
    page = ledger.page(world.run, 0)
    world.set_columns(1, detail="another")
    later = Archived(through=2, parts=1, sessions=(("a", 0),))

    assert not ledger.take_out(world.run, Archived(), later, page)
    with transaction(world.engine) as connection:
        connection.execute(delete(moves).where(moves.c.row_id == "[1]"))
    assert not ledger.take_out(world.run, Archived(), later, page)
    assert (_count(world), ledger.find(world.run)) == (1, None)


def _lines(world: World) -> bytes:
    pages = ReportLedger(world.engine, store=lambda: world.store).pages(world.run, tuple(COLUMNS.values()), window=3)
    return b"".join(line for line, _ in jsonl_lines(pages, run_id=world.run.id))


def _count(world: World) -> int:
    with transaction(world.engine, read_only=True) as connection:
        return int(connection.execute(select(func.count()).select_from(moves)).scalar_one())


def _times(report: dict[str, object]) -> dict[str, object]:
    """What goes by the time of asking."""
    return {name: value for name, value in report.items() if name in {"seconds", "rate", "per_second", "eta_seconds"}}
