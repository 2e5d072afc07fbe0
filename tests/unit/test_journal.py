"""The journal: one small object a batch, the same name for the same entries, nothing lost on the way back (H15)."""

from __future__ import annotations

import json

import pytest

from app import journal
from app.errors import DeniedError
from app.journal import Entry, Head, JournalError, Version
from app.object_store import ObjectAttributes
from app.testing import Fault, FixedDeadline, InMemoryStore

HEAD = Head(bucket="assets", table="public.assets", run="0123abcd", noted_at="2026-11-25T07:00:00+00:00")
LEASE = FixedDeadline()


def entry(number: int, *, client: str | None = "7", version_id: str | None = None) -> Entry:
    """An entry of row *number*, with a key that JSON and URLs have to escape."""
    source = Version(etag=f"{number:032x}", size=number, store_time=1000 + number, version_id=version_id)
    return Entry(
        row_id=f"[{number}]",
        client=client,
        old_key=f'up/"{number}"\N{SNOWMAN}.png',
        new_key=f"clients/7/assets/{number}.png",
        source=source,
        copy=source,
    )


def test_journal_gives_back_what_was_written() -> None:
    """Row ids, keys of any letters, versions; a client or version id that is not there too."""
    store = InMemoryStore.like_minio()
    entries = [entry(1), entry(2, client=None), entry(3, version_id="v3")]

    key = journal.write(store, HEAD, entries, deadline=LEASE)

    assert list(journal.keys(store)) == [key]
    assert journal.read(store, key) == (HEAD, entries)


def test_journal_is_json_lines_below_the_reserved_prefix() -> None:
    """An operator can read it with any tool, without this product."""
    store = InMemoryStore.conditional()
    key = journal.write(store, HEAD, [entry(1)], deadline=LEASE)

    lines = [json.loads(line) for line in store.app_get(key).decode().splitlines()]

    assert key.startswith(".rekey/journal/0123abcd/19700101T001641Z-")
    assert (lines[0]["format"], lines[0]["table"], lines[1]["row_id"], lines[1]["copy"]["size"]) == (1, "public.assets", "[1]", 1)


def test_journal_is_written_once_when_the_same_batch_comes_again() -> None:
    """The name is made from the entries, and a second write is refused by the store: a retry leaves no second object."""
    store = InMemoryStore.like_minio()
    first = journal.write(store, HEAD, [entry(1), entry(2)], deadline=LEASE)
    store.clock.advance(60)  # type: ignore[attr-defined] # the manual clock

    again = journal.write(store, HEAD, [entry(1), entry(2)], deadline=LEASE)
    other = journal.write(store, HEAD, [entry(1), entry(3)], deadline=LEASE)

    assert again == first
    assert list(journal.keys(store)) == sorted([first, other])


def test_journal_keys_are_listed_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page is a listing of its own from start-after (M1)."""
    monkeypatch.setattr(journal, "MAX_LISTED", 2)
    store = InMemoryStore.conditional()
    written = {journal.write(store, HEAD, [entry(number)], deadline=LEASE) for number in range(5)}

    assert set(journal.keys(store)) == written
    assert len([call for call in store.calls if call[0] == "list_page"]) == 3


def test_journal_write_that_is_denied_is_raised() -> None:
    """Nothing is deleted on the word of a journal that is not there."""
    store = InMemoryStore.conditional()
    store.faults.add(Fault.refuse(DeniedError), on="put")

    with pytest.raises(DeniedError):
        journal.write(store, HEAD, [entry(1)], deadline=LEASE)


@pytest.mark.parametrize(
    "body", [b"", b"not JSON\n", b"[]\n", b'{"format": 2}\n', b'{"format": 1, "bucket": "b"}\n', b"\xff\xfe", b"x" * 20_000_000]
)
def test_foreign_object_below_the_prefix_is_refused_by_name(body: bytes) -> None:
    """In one line, whatever it holds."""
    store = InMemoryStore.conditional()
    store.put(".rekey/journal/x/y.jsonl", body, ObjectAttributes(), condition=None, deadline=LEASE)

    with pytest.raises(JournalError, match=r"\.rekey/journal/x/y\.jsonl"):
        journal.read(store, ".rekey/journal/x/y.jsonl")
