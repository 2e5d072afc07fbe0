"""A verification from beginning to end, and its report."""

from __future__ import annotations

from typing import Any

from app.verification.checking import check_objects, check_rows
from app.verification.checking_ledger import check_moves
from app.verification.findings import FAULTS, NOTES, Kind
from app.verification.headers import check_headers
from app.verification.reading import read_objects, read_rows
from app.verification.subject import Subject
from app.verification.workspace import Workspace

EXAMPLES = 5
COUNTED = ("rows", "objects", "reserved")
SCHEMES = ("new", "old", "other_client", "no_key", "bad_key")


def verify(subject: Subject, work: Workspace, *, headers: bool) -> dict[str, Any]:
    """Read everything, compare, look again at what seems wrong; nothing is written to table, bucket or ledger.

    Returns:
        The report: counts, faults and notes by kind, a few examples of each.

    Raises:
        TransientError: Store or database did not answer for long: what was done is kept in *work*.
    """
    if work.noted("began_at") is None:
        with work.page():
            work.note("began_at", subject.store.store_time())
    read_rows(subject, work)
    if work.noted("rows_read_at") is None:
        with work.page():
            work.note("rows_read_at", subject.store.store_time())
    read_objects(subject, work)
    check_moves(subject, work)
    check_rows(subject, work)
    check_objects(subject, work)
    if headers:
        check_headers(subject, work)
    return _report(subject, work, headers=headers)


def _report(subject: Subject, work: Workspace, *, headers: bool) -> dict[str, Any]:
    counts = work.counts()
    schemes = dict(work.select("SELECT scheme, COUNT(*) FROM rows GROUP BY scheme"))
    states = sorted(name.partition(":")[2] for (name,) in work.select("SELECT name FROM notes WHERE name LIKE 'ledger:%'"))
    return {
        "run": subject.run.id if subject.run else None,
        **{name: work.noted(name, 0) for name in COUNTED},
        "schemes": {scheme: schemes.get(scheme, 0) for scheme in SCHEMES},
        "recount": {state: {"ledger": work.noted(f"ledger:{state}"), "agree": work.noted(f"agrees:{state}")} for state in states},
        "headers_checked": headers,
        "faults": _by_kind(FAULTS, counts),
        "notes": _by_kind(NOTES, counts),
        "examples": {str(kind): [each.as_object() for each in work.examples(kind, limit=EXAMPLES)] for kind in sorted(counts)},
        "seconds": round(subject.store.store_time() - work.noted("began_at"), 1),
    }


def _by_kind(kinds: dict[Kind, str], counts: dict[Kind, int]) -> dict[str, int]:
    return {str(kind): counts[kind] for kind in kinds if counts.get(kind)}
