"""Reading everything once: the table by pages of its id, each bucket by pages of its keys (M1: each a listing of its own)."""

from __future__ import annotations

from app.assets import AssetRow
from app.database import transaction
from app.errors import StoreRequestError
from app.key_values import KeyRefusedError, check_old_key
from app.object_store import MAX_LISTED, ListedPage, ObjectStore
from app.planning import LONGEST_KEPT, printable
from app.two_buckets import TwoBuckets
from app.verification.findings import Finding, Kind
from app.verification.subject import Subject
from app.verification.workspace import Row, Workspace

PAGE_ROWS = 2000
NEW, OLD, OTHER_CLIENT, NO_KEY, BAD_KEY = "new", "old", "other_client", "no_key", "bad_key"  # the scheme of a row's key


def read_rows(subject: Subject, work: Workspace) -> None:
    """Lay all rows into the workspace, from where an earlier attempt has come to."""
    if work.noted("rows_read"):
        return
    subject.progress.phase("rows")
    while True:
        after = work.noted("rows_after")
        page = subject.patiently(lambda after=after: _page(subject, after))  # type: ignore[misc] # mypy knows no default of a lambda
        with work.page():
            work.add_rows(_laid_out(subject, row) for row in page)
            work.count("rows", len(page))
            if page:
                work.note("rows_after", page[-1].row_id)
        subject.progress.advance(len(page))
        if not page:
            break
    with work.page():
        work.index_rows()
        work.note("rows_read", value=True)


def _page(subject: Subject, after: str | None) -> list[AssetRow]:
    with transaction(subject.engine, read_only=True) as connection:
        return subject.assets.page(connection, after=after, limit=PAGE_ROWS)


def _laid_out(subject: Subject, row: AssetRow) -> Row:
    if row.key is None or row.key == "":
        return row.row_id, None, None, NO_KEY, 0
    try:
        key = check_old_key(row.key)
    except KeyRefusedError:
        return row.row_id, printable(row.key)[:LONGEST_KEPT], None, BAD_KEY, 0
    return row.row_id, key, subject.rules.equivalence.canonical(key), scheme_of(subject, row), 0


def scheme_of(subject: Subject, row: AssetRow) -> str:
    """Whether a row's key has the template's form for its client, for another client, or not at all."""
    template = subject.rules.template
    if template.is_in_place(row.key, row.client, row.columns):
        return NEW
    return OTHER_CLIENT if template.is_marked and template.has_form(str(row.key)) else OLD


def read_objects(subject: Subject, work: Workspace) -> None:
    """Lay all objects into the workspace, bucket by bucket; the product's own below .rekey/ are counted apart."""
    if work.noted("objects_read"):
        return
    subject.progress.phase("objects")
    for name, store in _buckets(subject):
        _read_bucket(subject, work, name, store)
    with work.page():
        work.note("objects_read", value=True)


def _buckets(subject: Subject) -> list[tuple[str, ObjectStore]]:
    """Each bucket with its name: of two, each is read by itself, since what no row can name there shows in its own listing alone."""
    store, rules = subject.store, subject.rules
    if not isinstance(store, TwoBuckets):
        return [(rules.bucket, store)]
    return [(rules.bucket, store.source), (str(rules.target_bucket), store.target)]


def _read_bucket(subject: Subject, work: Workspace, bucket: str, store: ObjectStore) -> None:
    """Lay one bucket's objects into the workspace; those whose keys mean the other bucket are findings, since no row leads to them."""
    rules = subject.rules
    while not work.noted(f"objects_read:{bucket}"):
        after = work.noted(f"objects_after:{bucket}", "")
        page = subject.patiently(lambda after=after: store.list_page(prefix="", start_after=after, delimiter="", limit=MAX_LISTED))  # type: ignore[misc] # mypy knows no default of a lambda
        _check_advance(page, after)
        assets = [info for info in page.objects if not rules.is_reserved(info.key)]
        meant = {info.key: rules.placing.bucket_of(info.key) for info in assets}
        with work.page():
            work.add_objects((rules.equivalence.canonical(info.key), info) for info in assets if meant[info.key] == bucket)
            work.add(_misplaced(key, bucket, other) for key, other in meant.items() if other != bucket)
            work.count("objects", len(assets))
            work.count("reserved", len(page.objects) - len(assets))
            if page.objects:
                work.note(f"objects_after:{bucket}", page.objects[-1].key)
            work.note(f"objects_read:{bucket}", not page.truncated)
        subject.progress.advance(len(assets))


def _misplaced(key: str, bucket: str, meant: str) -> Finding:
    return Finding(kind=Kind.MISPLACED, key=key, detail=f"in bucket {bucket!r}; a row that names this key means bucket {meant!r}")


def _check_advance(page: ListedPage, after: str) -> None:
    """See that the listing goes on: one that stands still, or turns back, would never end or leave something out."""
    stands = page.truncated and (not page.objects or page.objects[-1].key == after)
    if stands or any(info.key == after for info in page.objects):
        raise StoreRequestError(after, "the listing does not go on from")
