"""Multipart uploads that a dead or interrupted worker left unfinished: aborted by the reconciler, ours alone, by the ledger's record."""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import ObjectError, TransientError
from app.ledger.records import Run
from app.stages.context import Context

UPLOADS_A_TICK = 20


@dataclass(frozen=True, slots=True)
class Swept:
    """What became of the uploads left: *open* are still to be tried, *refused* say why not, each once in a process's life."""

    aborted: int
    open: int
    refused: tuple[str, ...]


def abort_left_uploads(run: Run, *, context: Context) -> Swept:
    """Abort what no lease covers any more. Safe to repeat; an upload that was completed meanwhile is gone, and its object stays.

    What the store has refused to abort is tried again only where a tick has time for it, and is waited for by nobody.
    """
    aborted, refused = 0, []
    left = context.uploads.left(run)
    untried = sum(not upload.was_refused for upload in left)
    for upload in left[:UPLOADS_A_TICK]:
        try:
            context.store.abort_upload(upload.upload_id, upload.key)
        except ObjectError as error:
            if not upload.was_refused:
                context.uploads.refused(upload)
            if upload.id not in context.told:
                context.told.add(upload.id)
                refused.append(str(error))
        except TransientError:
            break
        else:
            context.uploads.gone(upload)
            aborted += 1
        untried -= not upload.was_refused
    return Swept(aborted=aborted, open=untried, refused=tuple(refused))
