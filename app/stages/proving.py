"""What REKEY_VERIFY asks of a copy before its outcome is recorded."""

from __future__ import annotations

from dataclasses import replace

from app.copy_proof import compare_bytes, see_readable
from app.copying import Copied
from app.errors import ProofError
from app.ledger.records import Move, Outcome
from app.stages.batch import Batch
from app.stages.keeping import BatchKeeper
from app.stages.outcomes import failed


def prove(batch: Batch, move: Move, copied: Copied) -> None:
    """Look at the copy as closely as the operator wishes, and at what went through this worker until its bytes are proved.

    The ETag of such a copy says what the store got, be it damaged or not: other than the source's, it proves nothing.

    Raises:
        ProofError, DeniedError and the like: It is no copy, or cannot be read.
    """
    context = batch.context
    if context.settings.verify == "checksum" or (copied.through and not copied.has_same_hash):
        compare_bytes(context.store, copied, keeper=BatchKeeper(batch, move), budget=context.budget)
    elif context.settings.verify == "read":
        see_readable(context.store, copied.copy)


def disproved(batch: Batch, move: Move, copied: Copied) -> Outcome | None:
    """What becomes of *move* whose copy, just written, has other bytes: it is written once more, over that very copy, a few times."""
    try:
        prove(batch, move, copied)
    except ProofError as error:
        written = replace(copied.copy, key=move.new_key)
        return failed(move._replace(source=copied.source, copy=written, copy_recorded=True), str(error), settings=batch.context.settings)
    return None
