"""Noting a batch of deletes in the journal, before the first of them is sent (H15)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from app.errors import ObjectError
from app.journal import Entry, Head, Version, write
from app.ledger.records import Move, Outcome
from app.object_store import ObjectInfo
from app.stages.context import Batch, clean
from app.stages.views import View

RETRY_SECONDS = 30.0  # a journal that is refused stays refused until the operator mends it


def note(batch: Batch, view: View, due: Sequence[tuple[Move, ObjectInfo]]) -> bool:
    """Write *due* into the journal; a move whose intent is on record was noted then, with the versions that it still has.

    Returns:
        Whether the batch may delete. Where the journal is refused it may not: every move waits, since nothing is wrong with the assets.

    Raises:
        TransientError: The store did not answer; the batch is given back.
    """
    entries = [entry for move, old in due if not move.intent_at for entry in _entries(view, move, old)]
    if not batch.context.settings.journal or not entries:
        return True
    noted_at = datetime.fromtimestamp(view.store_time, UTC).isoformat()
    head = Head(bucket=batch.run.bucket, table=batch.run.table_name, run=batch.run.id, noted_at=noted_at)
    try:
        write(batch.context.store, head, entries, deadline=batch.lease)
    except ObjectError as error:
        why = f"deletes wait: the journal cannot be written ({error}); allow PUT below .rekey/, or cancel and run with REKEY_JOURNAL=false"
        for move, _ in due:
            held = replace(move, attempts=max(move.attempts, 1), detail=clean(why))  # an attempt, so that the status shows it
            batch.add(Outcome(move=held, due_in=RETRY_SECONDS), say="waiting for the journal")
        return False
    return True


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
