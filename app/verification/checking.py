"""Rows without their object, and objects without a row. Whatever looks wrong in what was read is asked for once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from app.database import transaction
from app.object_store import ObjectInfo
from app.states import OPEN_STATES, MoveState
from app.verification.current import key_of, ledger_on, look_at, rows_now
from app.verification.findings import Finding, Kind
from app.verification.reading import BAD_KEY, OLD, OTHER_CLIENT
from app.verification.subject import Subject
from app.verification.workspace import Workspace

PAGE = 500
Page = Sequence[tuple[Any, ...]]


def check_rows(subject: Subject, work: Workspace) -> None:
    """Rows whose object was not listed, or whose key is not what it should be."""
    where = "(o.name IS NULL AND r.scheme != 'no_key') OR r.scheme = 'other_client'"
    if subject.run is not None and subject.whole_table and not subject.run.is_live:
        where += " OR (r.examined = 0 AND r.scheme = 'old')"
    statement = f"SELECT r.seq, r.row_id, r.key, r.scheme, r.examined, o.name IS NULL FROM rows r LEFT JOIN objects o ON o.name = r.name \
WHERE r.seq > ? AND ({where}) ORDER BY r.seq LIMIT {PAGE}"

    def confirm(page: Page) -> list[Finding]:
        rows = rows_now(subject, [row_id for _, row_id, *_ in page])
        findings = []
        for _, row_id, key, scheme, examined, missing in page:
            row = rows.get(row_id)
            if row is None or (scheme != BAD_KEY and row.key != key):
                continue  # changed since it was read: the service is at work on it
            if scheme == BAD_KEY:
                findings.append(Finding(kind=Kind.MISSING, row_id=row_id, key=key, detail="no object can have such a key"))
            if scheme == OTHER_CLIENT:
                findings.append(Finding(kind=Kind.OTHER_CLIENT, row_id=row_id, key=key, detail=f"its client is {row.client}"))
            if scheme == OLD and not examined and subject.run is not None and subject.whole_table and not subject.run.is_live:
                findings.append(Finding(kind=Kind.UNEXAMINED, row_id=row_id, key=key))
            del missing
        lacking = {row_id: key for _, row_id, key, scheme, _, missing in page if missing and scheme != BAD_KEY and key}
        return findings + _lacking(subject, work, {row_id: key for row_id, key in lacking.items() if key_of(rows.get(row_id)) == key})

    run_pass(subject, work, "rows_checked", statement=statement, confirm=confirm, first=0)


def _lacking(subject: Subject, work: Workspace, keys: dict[str, str]) -> list[Finding]:
    """Those of some rows whose object is missing indeed: a row may be written SETTLE_SECONDS before its object (A3)."""
    looks = look_at(subject, keys.values())
    if any(looks.found.get(key) is None for key in keys.values()) and not work.noted("settled"):
        wait = max(0.0, subject.settle_seconds - (subject.store.store_time() - work.noted("rows_read_at", 0)))
        subject.progress.phase(f"waiting {wait:.0f} s for uploads under way")
        subject.sleep(wait)
        with work.page():
            work.note("settled", value=True)
        looks = look_at(subject, keys.values())
    rows = rows_now(subject, list(keys)) if keys else {}
    findings = []
    for row_id, key in keys.items():
        if key_of(rows.get(row_id)) != key:
            continue
        if key in looks.failed:
            findings.append(Finding(kind=Kind.REFUSED, row_id=row_id, key=key, detail=str(looks.failed[key])))
        elif looks.found[key] is None:
            findings.append(Finding(kind=Kind.MISSING, row_id=row_id, key=key))
    return findings


def check_objects(subject: Subject, work: Workspace) -> None:
    """Objects that no row named when both were read, and that none names now."""
    statement = f"SELECT o.name, o.key FROM objects o WHERE o.name > ? AND NOT EXISTS (SELECT 1 FROM rows r WHERE r.name = o.name) \
ORDER BY o.name LIMIT {PAGE}"

    def confirm(page: Page) -> list[Finding]:
        keys: dict[str, str] = {name: key for name, key in page}  # noqa: C416 - mypy cannot know the width of a row
        with transaction(subject.engine, read_only=True) as connection:
            named = subject.assets.naming(connection, keys.values())
        unnamed = {name: key for name, key in keys.items() if name not in named}
        looks = look_at(subject, unnamed.values())
        ledger = ledger_on(subject, list(unnamed.values()))
        return [
            _stray(subject, key, explained=work.why(name), found=looks.found.get(key), ledger=ledger.get(subject.rules.hash_of(key)))
            for name, key in unnamed.items()
            if looks.found.get(key) is not None or key in looks.failed
        ]

    run_pass(subject, work, "objects_checked", statement=statement, confirm=confirm, first="")


def _stray(subject: Subject, key: str, *, explained: str | None, found: ObjectInfo | None, ledger: tuple[MoveState, str] | None) -> Finding:
    if ledger is not None and ledger[0] in OPEN_STATES:
        return Finding(kind=Kind.IN_TRANSIT, key=key, detail=ledger[1])
    why = explained or (ledger[1] if ledger is not None and ledger[0] in {MoveState.KEPT, MoveState.PARKED} else None)
    if why:
        return Finding(kind=Kind.LEFT_OVER, key=key, detail=why)
    if found is not None and subject.store.store_time() - found.last_modified < subject.settle_seconds:
        return Finding(kind=Kind.YOUNG, key=key)
    kind = Kind.STRAY_NEW if subject.rules.template.has_form(key) else Kind.STRAY_OLD
    return Finding(kind=kind, key=key, detail=ledger[1] if ledger is not None else None)


def run_pass(
    subject: Subject, work: Workspace, name: str, *, statement: str, confirm: Callable[[Page], list[Finding]], first: object
) -> None:
    """Page by page over what looks wrong in the workspace; what is confirmed is kept together with the cursor."""
    if work.noted(name):
        return
    subject.progress.phase(name.replace("_", " "))
    while True:
        after = work.noted(f"{name}_after", first)
        page = work.select(statement, after)
        findings = subject.patiently(lambda page=page: confirm(page)) if page else []  # type: ignore[misc] # mypy knows no default of a lambda
        with work.page():
            work.add(findings)
            if page:
                work.note(f"{name}_after", page[-1][0])
            work.note(name, not page)
        subject.progress.advance(len(page))
        if not page:
            return
