"""The journal of a table, laid into the workspace so that a row's deleted keys can be looked up there."""

from __future__ import annotations

from dataclasses import dataclass

from app import journal
from app.journal import Entry, Head, JournalError
from app.reflection import split_name
from app.verification.subject import Subject
from app.verification.workspace import Workspace

LONGEST_CHAIN = 50  # runs with other templates may have moved an asset on and on


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Where the bytes of a deleted object went, by the journal."""

    new_key: str
    client: str | None
    etag: str
    size: int
    source_etag: str
    source_size: int


def read_journal(subject: Subject, work: Workspace, *, bucket: str, table: str) -> None:
    """Lay all entries of *bucket* and *table* into the workspace; unreadable objects and those of other tables are counted."""
    if work.noted("journal_read"):
        return
    subject.progress.phase("journal")
    after = work.noted("journal_after", "")
    for key in journal.keys(subject.store, after=after):
        try:
            head, entries = subject.patiently(lambda key=key: journal.read(subject.store, key))  # type: ignore[misc]
        except JournalError:
            with work.page():
                work.count("journal_unreadable", 1)
                work.note("journal_after", key)
            continue
        ours = head.bucket == bucket and _same_table(head.table, table)
        with work.page():
            work.count("journal_objects" if ours else "journal_of_others", 1)
            if ours:
                work.insert_entries(_values(head, entry) for entry in entries)
            work.note("journal_after", key)
        subject.progress.advance(1)
    with work.page():
        work.note("journal_read", value=True)


def _values(head: Head, entry: Entry) -> tuple[object, ...]:
    versions = (entry.copy.etag, entry.copy.size, entry.source.etag, entry.source.size)
    return (entry.row_id, entry.old_key, entry.new_key, entry.client, *versions, head.noted_at)


def _same_table(one: str, other: str) -> bool:
    """Whether both names mean the same table; one of them may lack the schema."""
    (schema, table), (other_schema, other_table) = split_name(one), split_name(other)
    return table == other_table and (schema is None or other_schema is None or schema == other_schema)


def way_of(work: Workspace, row_id: str, key: str) -> list[Noted]:
    """Where the journal says the object went that row *row_id* names as *key*: one step a run that moved it on."""
    way: list[Noted] = []
    seen = {key}
    while len(way) < LONGEST_CHAIN:
        found = work.select(
            "SELECT new_key, client, etag, size, source_etag, source_size FROM entries WHERE row_id = ? AND old_key = ? "
            "ORDER BY noted_at DESC LIMIT 1",
            row_id,
            key,
        )
        if not found or found[0][0] in seen:
            return way
        key, client, etag, size, source_etag, source_size = found[0]
        seen.add(key)
        way.append(Noted(new_key=key, client=client, etag=etag, size=size, source_etag=source_etag, source_size=source_size))
    return way


def led_back(work: Workspace, row_id: str, key: str) -> bool:
    """Whether the last that the journal says of *key* for the row is that a move led there, as a rollback does: it is not a deleted one."""
    found = work.select(
        "SELECT new_key FROM entries WHERE row_id = ? AND ? IN (old_key, new_key) ORDER BY noted_at DESC, seq DESC LIMIT 1", row_id, key
    )
    return bool(found) and found[0][0] == key


def rows_in(work: Workspace, *, after: str, limit: int) -> list[str]:
    """The next row ids that the journal has entries of."""
    found = work.select("SELECT DISTINCT row_id FROM entries WHERE row_id > ? ORDER BY row_id LIMIT ?", after, limit)
    return [row_id for (row_id,) in found]
