"""Noting a batch of deletes in the journal, before the first of them is sent (H15)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from app.errors import ObjectError, StoreFullError, TransientError
from app.journal import Entry, Head, Version, new_mark, put_mark, unmark, write
from app.ledger.records import Move, Outcome, Run
from app.object_store import ObjectInfo, Seconds
from app.stages.batch import Batch
from app.stages.context import Context
from app.stages.outcomes import clean
from app.stages.views import View

RETRY_SECONDS = 30.0  # a journal that is refused stays refused until the operator mends it
FULL_SECONDS = 2.0  # a store that is full has room again when something was deleted
FIRST_OUT = 10  # old objects that go before they are noted, where a full store takes no note: what they leave is room for it

log = logging.getLogger(__name__)
Due = Sequence[tuple[Move, ObjectInfo]]


@dataclass(frozen=True, slots=True)
class Note:
    """A batch's entry in the journal. Not ``written``: the store is full, and what is let go is noted as soon as it has made room."""

    head: Head
    entries: Sequence[Entry]
    written: bool

    def catch_up(self, batch: Batch) -> None:
        """Note now what was let go; never raises, since the objects are gone. What is not taken even now is in the log."""
        if self.written:
            return
        try:
            write(batch.context.store, self.head, self.entries, deadline=batch.lease)
        except (ObjectError, TransientError) as error:
            rows = ", ".join(entry.row_id for entry in self.entries)
            log.warning("rows %s are not in the journal: %s", rows, error, extra={"action": "not_noted", "run_id": batch.run.id})


def note(batch: Batch, view: View, due: Due) -> tuple[Due, Note]:
    """Write *due* into the journal; a move whose intent is on record was noted then, with the versions that it still has.

    Returns:
        Those that may be deleted, and their note. Where the journal is refused none may be: every move waits, since nothing is wrong with
        the assets. Where the store is full, a few may, once the run's mark is gone, which stands for a whole journal: else nothing would
        ever make room, neither for the journal nor for copies.

    Raises:
        TransientError: The store did not answer; the batch is given back.
    """
    noted_at = datetime.fromtimestamp(view.store_time, UTC).isoformat()
    head = Head(bucket=batch.run.bucket, table=batch.run.table_name, run=batch.run.id, noted_at=noted_at)
    entries = _of(view, due)
    if not batch.context.settings.journal or not entries:
        return due, Note(head, [], written=True)
    try:
        write(batch.context.store, head, entries, deadline=batch.lease)
    except StoreFullError:
        first = _first_out(due) if _is_unmarked(batch) else []
        for move, _ in due[len(first) :]:
            batch.add(Outcome(move=move, due_in=FULL_SECONDS), say="waiting for room")
        return first, Note(head, _of(view, first), written=False)
    except ObjectError as error:
        why = f"deletes wait: the journal cannot be written ({error}); allow PUT below .rekey/, or cancel and run with REKEY_JOURNAL=false"
        for move, _ in due:
            held = move._replace(attempts=max(move.attempts, 1), detail=clean(why))  # an attempt, so that the status shows it
            batch.add(Outcome(move=held, due_in=RETRY_SECONDS), say="waiting for the journal")
        return [], Note(head, [], written=True)
    return due, Note(head, entries, written=True)


def _is_unmarked(batch: Batch) -> bool:
    mark = batch.run.journal_mark
    return mark is not None and unmark(batch.context.store, mark, deadline=batch.lease)


def mark_journal(run: Run, context: Context) -> str | None:
    """Put a mark into the bucket before there is a move of the run; gives its key, for the transaction that plans the first of them.

    Each attempt has a key of its own, and only one of them becomes the run's: else a seed that was stopped here could put the mark back
    after it was taken away. A store that refuses it has none: the run's journal is not relied upon.

    Raises:
        TransientError: The store did not answer.
    """
    if not run.wants_mark:
        return None
    key = new_mark()
    with suppress(ObjectError, StoreFullError):
        put_mark(context.store, key, deadline=Seconds(context.settings.request_timeout_seconds))
        return key
    return None


def drop_mark(mark: str | None, context: Context) -> None:
    """Take away a mark that has not become the run's."""
    if mark is not None:
        with suppress(TransientError):
            unmark(context.store, mark, deadline=Seconds(context.settings.request_timeout_seconds))


def _first_out(due: Due) -> Due:
    """A few objects of *due*; the moves of one object stand side by side, and are not parted."""
    end = min(FIRST_OUT, len(due))
    while end < len(due) and due[end - 1][0].old_hash == due[end][0].old_hash:
        end += 1
    return due[:end]


def _of(view: View, due: Due) -> list[Entry]:
    return [entry for move, old in due if not move.intent_at for entry in _entries(view, move, old)]


def _entries(view: View, move: Move, old: ObjectInfo) -> list[Entry]:
    copy = view.looks.found.get(move.new_key) or move.copy
    if copy is None:
        return []
    return [
        Entry(
            row_id=move.row_id,
            client=move.client,
            old_key=move.old_key,
            new_key=move.new_key,
            source=Version.of(old),
            copy=Version.of(copy),
        )
    ]
