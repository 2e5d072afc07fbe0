"""Headers, one HEAD an object: a content type must be there, and a copy's headers and tags are its source's, while that exists."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select

from app.arrays import among
from app.attributes import comparable
from app.database import transaction
from app.errors import MissingObjectError, ObjectError
from app.ledger.records import Move
from app.object_store import ReadObject
from app.schema import moves as moves_table
from app.verification.checking import Page, run_pass
from app.verification.findings import Finding, Kind
from app.verification.subject import Subject
from app.verification.workspace import Workspace

REQUESTS = 16  # at once
_STATEMENT = "SELECT r.seq, r.row_id, r.key FROM rows r JOIN objects o ON o.name = r.name WHERE r.seq > ? ORDER BY r.seq LIMIT 500"


def check_headers(subject: Subject, work: Workspace) -> None:
    """Ask the store for each object that a row names."""
    with ThreadPoolExecutor(REQUESTS) as pool:

        def confirm(page: Page) -> list[Finding]:
            moves = _moves(subject, [row_id for _, row_id, _ in page])
            asked = [(row_id, key, moves.get(row_id)) for _, row_id, key in page]
            return [finding for finding in pool.map(lambda one: _check(subject, *one), asked) if finding]

        run_pass(subject, work, "headers_checked", statement=_STATEMENT, confirm=confirm, first=0)


def _moves(subject: Subject, row_ids: Sequence[str]) -> dict[str, Move]:
    if subject.run is None:
        return {}
    statement = select(moves_table).where(moves_table.c.run_no == subject.run.no, among(moves_table.c.row_id, row_ids))
    with transaction(subject.engine, read_only=True) as connection:
        return {row["row_id"]: Move.from_row(dict(row)) for row in connection.execute(statement).mappings()}


def _check(subject: Subject, row_id: str, key: str, move: Move | None) -> Finding | None:
    try:
        found = subject.store.head(key)
    except MissingObjectError:
        return None  # moved or removed since; what is missing has its own pass
    except ObjectError as error:
        return Finding(kind=Kind.REFUSED, row_id=row_id, key=key, detail=str(error))
    if not found.attributes.headers.get("content-type"):
        return Finding(kind=Kind.WRONG_HEADERS, row_id=row_id, key=key, detail="no content type")
    if move is None or key != move.new_key or move.same_object or move.source is None or not move.is_our_copy(found.info):
        return None
    return _compare(subject, row_id, move, found)


def _compare(subject: Subject, row_id: str, move: Move, copy: ReadObject) -> Finding | None:
    try:
        source = subject.store.head(move.old_key)
        if move.source is None or not source.info.is_same_version(move.source):
            return None
        theirs, ours = comparable(subject.store, source, subject.policy).headers, comparable(subject.store, copy, subject.policy).headers
    except ObjectError:
        return None  # the source is gone by now, or may not be read: nothing to compare with
    names = sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))
    return (
        Finding(kind=Kind.WRONG_HEADERS, row_id=row_id, key=move.new_key, detail=f"unlike its source: {', '.join(names)}")
        if names
        else None
    )
