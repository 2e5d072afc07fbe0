"""The run's ledger against table and bucket: does every move's outcome say what is there?"""

from __future__ import annotations

from collections.abc import Sequence

from app.ledger.leases import moves_of
from app.ledger.reading import ReportLedger
from app.ledger.records import Move
from app.schema import moves as moves_table
from app.verification.current import key_of, look_at, rows_now
from app.verification.judging import Facts, Verdict, judge
from app.verification.subject import Subject
from app.verification.workspace import Workspace

PAGE = 500
COLUMNS = tuple(column.name for column in moves_table.c)


def check_moves(subject: Subject, work: Workspace) -> None:
    """The run's ledger against what was read, move by move; what disagrees is judged again by what is there now."""
    run = subject.run
    if run is None or work.noted("moves_checked"):
        return
    subject.progress.phase("ledger", max(run.next_move - 1, 0))
    ledger = ReportLedger(subject.engine, sleep=subject.sleep, store=lambda: subject.store)
    while not work.noted("moves_checked"):
        before = work.noted("moves_after", 0)
        for rows in ledger.pages(run, COLUMNS, window=PAGE, after=before):
            _check_page(subject, work, moves_of(rows))
        with work.page():
            work.note("moves_checked", work.noted("moves_after", 0) == before)  # a run that goes on may have more by now


def _check_page(subject: Subject, work: Workspace, page: Sequence[Move]) -> None:
    verdicts = _as_read(subject, work, page)
    doubtful = [move for move in page if not verdicts[move.id].agrees]
    if doubtful:
        verdicts |= subject.patiently(lambda doubtful=doubtful: _as_it_is(subject, doubtful))  # type: ignore[misc]
    with work.page():
        work.mark_examined([move.row_id for move in page])
        for move in page:
            verdict = verdicts[move.id]
            work.add(verdict.findings)
            work.count(f"ledger:{move.state}", 1)
            work.count(f"agrees:{move.state}", int(verdict.agrees))
            if verdict.left:
                work.explain(subject.rules.equivalence.canonical(move.new_key), verdict.left)
        work.note("moves_after", page[-1].id)
    subject.progress.advance(len(page))


def _as_read(subject: Subject, work: Workspace, moves: Sequence[Move]) -> dict[int, Verdict]:
    canonical = subject.rules.equivalence.canonical
    keys = work.keys_of([move.row_id for move in moves])
    objects = work.objects(sorted({canonical(key) for move in moves for key in (move.old_key, move.new_key)}))
    return {
        move.id: _judged(
            subject,
            Facts(
                move=move,
                there=move.row_id in keys,
                key=keys.get(move.row_id),
                old=objects.get(canonical(move.old_key)),
                new=objects.get(canonical(move.new_key)),
            ),
        )
        for move in moves
    }


def _as_it_is(subject: Subject, moves: Sequence[Move]) -> dict[int, Verdict]:
    assert subject.run is not None  # noqa: S101 - the caller has seen to it
    in_ledger = {move.id: move for move in subject.moves.load(subject.run, [move.id for move in moves])}
    moves = [in_ledger.get(move.id, move) for move in moves]  # what has left the ledger has not changed since
    looks = look_at(subject, [key for move in moves for key in (move.old_key, move.new_key) if key])
    rows = rows_now(subject, [move.row_id for move in moves])
    return {
        move.id: _judged(
            subject,
            Facts(
                move=move,
                there=move.row_id in rows,
                key=key_of(rows.get(move.row_id)),
                old=looks.found.get(move.old_key),
                new=looks.found.get(move.new_key),
            ),
        )
        for move in moves
    }


def _judged(subject: Subject, facts: Facts) -> Verdict:
    return judge(facts, equivalence=subject.rules.equivalence, live=subject.run is not None and subject.run.is_live)
