"""Healing a table that was restored from an older back-up: rows that name deleted objects are switched to where the bytes are (H15).

Here is the first half, which reads and says what it would do; ``app.verification.healing`` does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, select

from app.assets import AssetRow, Naming
from app.database import read_now, transaction
from app.errors import UsageError
from app.looks import Looks
from app.planning import printable
from app.reflection import plain_name
from app.schema import moves, runs
from app.states import RunState
from app.verification.current import key_of, look_at, rows_now
from app.verification.journal_index import Noted, led_back, read_journal, rows_in, way_of
from app.verification.subject import Subject
from app.verification.workspace import Workspace

PAGE = 200


class Case(StrEnum):
    """What the journal and the bucket say of a row that names a deleted key."""

    HEALABLE = "healable"
    LOST = "lost"
    CHANGED = "changed"
    TAKEN = "taken"
    OTHER_CLIENT = "other_client"
    REUSED = "reused"
    REFUSED = "refused"


WORDS: dict[Case, str] = {
    Case.HEALABLE: "rows that name a deleted key, whose bytes are at their new key",
    Case.LOST: "rows that name a deleted key, and there is no object at their new key either",
    Case.CHANGED: "rows that name a deleted key, and another version is at their new key: look at it, then set the key by hand",
    Case.TAKEN: "rows that name a deleted key, and another row names their new key",
    Case.OTHER_CLIENT: "rows that name a deleted key, and belonged to another client when that was deleted",
    Case.REUSED: "rows that name a deleted key under which another object lies since: see whose it is",
    Case.REFUSED: "rows that the database or the store did not let us switch",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sick:
    """A row that names a deleted key, and what can be done."""

    case: Case
    row_id: str
    old_key: str
    noted: Noted
    detail: str | None = None

    def as_object(self) -> dict[str, Any]:
        """For JSON."""
        found = {"row_id": self.row_id, "old_key": self.old_key, "new_key": self.noted.new_key, "detail": self.detail}
        return {"case": str(self.case)} | {name: value for name, value in found.items() if value is not None}


def refuse_while_running(subject: Subject, connection: Connection, *, bucket: str, table: str) -> None:
    """Raise UsageError while a run may act on the table's rows: it is running, is being cancelled, or a worker still has a lease."""
    if not subject.has_ledger:
        return
    where = (runs.c.bucket == bucket, runs.c.table_name == plain_name(connection.engine, table), runs.c.live_hash.is_not(None))
    live = connection.execute(select(runs.c.no, runs.c.id, runs.c.state).where(*where)).first()
    if live is None:
        return
    if live.state != RunState.PAUSED:
        raise UsageError(f"run {live.id[:8]} is {live.state} on this table: `rekey pause` it first, and `rekey resume` it after the repair")
    leased = select(moves.c.id).where(
        moves.c.run_no == live.no, moves.c.lease_until > read_now(connection), moves.c.lease_token.is_not(None)
    )
    if connection.execute(leased.limit(1)).first():
        raise UsageError(f"run {live.id[:8]} is paused, and a worker still has work in hand: try again in a minute")


def find(subject: Subject, work: Workspace, *, bucket: str, table: str) -> None:
    """Read the journal, and lay into the workspace what is wrong with which row; nothing is changed."""
    read_journal(subject, work, bucket=bucket, table=table)
    if work.noted("sick_found"):
        return
    subject.progress.phase("rows in the journal")
    after = ""
    with work.page():
        work.forget_sick()
    while row_ids := rows_in(work, after=after, limit=PAGE):
        found = subject.patiently(lambda row_ids=row_ids: examine(subject, work, row_ids))  # type: ignore[misc]
        with work.page():
            work.add_sick((sick.case, sick.row_id, sick.old_key, sick.noted.new_key, sick.detail) for sick in found)
        after = row_ids[-1]
        subject.progress.advance(len(row_ids))
    with work.page():
        work.note("sick_found", value=True)


def examine(subject: Subject, work: Workspace, row_ids: Sequence[str]) -> list[Sick]:
    """Those of some rows that name a key which the journal has, and whose object is gone, as they are now."""
    rows = rows_now(subject, row_ids)
    ways = {row_id: way_of(work, row_id, key) for row_id, row in rows.items() if (key := key_of(row)) is not None}
    ways = {row_id: way for row_id, way in ways.items() if way}
    keys = [key for row_id, way in ways.items() for key in (str(rows[row_id].key), *(noted.new_key for noted in way))]
    looks = look_at(subject, keys)
    with transaction(subject.engine, read_only=True) as connection:
        naming = subject.assets.naming(connection, keys)
    found = (_examine(subject, work, rows[row_id], way, looks) for row_id, way in ways.items())
    sick = [each for each in found if each is not None]
    return [unless_taken(subject, each, naming) for each in sick]


def _examine(subject: Subject, work: Workspace, row: AssetRow, way: Sequence[Noted], looks: Looks) -> Sick | None:
    old_key = str(row.key)
    old = looks.found.get(old_key)

    def sick(case: Case, noted: Noted, detail: str | None = None) -> Sick:
        return Sick(case=case, row_id=row.row_id, old_key=old_key, noted=noted, detail=detail)

    if old is not None:  # it was not deleted, or is there again; else it is somebody else's, or was uploaded anew
        unchanged = (old.etag, old.size) == (way[0].source_etag, way[0].source_size)
        return None if unchanged or led_back(work, row.row_id, old_key) else sick(Case.REUSED, way[0])
    for key in (old_key, *(noted.new_key for noted in way)):
        if key in looks.failed:
            return sick(Case.REFUSED, way[-1], str(looks.failed[key]))
    there = [noted for noted in way if looks.found[noted.new_key] is not None]
    if not there:
        return sick(Case.LOST, way[-1])
    noted = there[-1]
    info = looks.found[noted.new_key]
    if info is None or (info.etag, info.size) != (noted.etag, noted.size):
        return sick(Case.CHANGED, noted)
    client = None if row.client is None else printable(row.client)
    if noted.client != client and not subject.rules.template.is_in_place(noted.new_key, row.client, row.columns):
        return sick(Case.OTHER_CLIENT, noted, f"the row's client is {client}, it was {noted.client}")
    return sick(Case.HEALABLE, noted)


def unless_taken(subject: Subject, sick: Sick, naming: Mapping[str, Sequence[Naming]]) -> Sick:
    """*sick*, or that another row names its new key: then it is that row's."""
    others = naming.get(subject.rules.equivalence.canonical(sick.noted.new_key), [])
    other = next((other for other in others if other.row_id != sick.row_id), None)
    if other is None or sick.case is not Case.HEALABLE:
        return sick
    return Sick(
        case=Case.TAKEN,
        row_id=sick.row_id,
        old_key=sick.old_key,
        noted=sick.noted,
        detail=f"row {other.row_id or 'in REFERENCES'} names it",
    )
