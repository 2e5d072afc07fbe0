"""What a long copy goes on under: the batch's lease, the sole right of a suspect, places for more requests, and its upload on record."""

from __future__ import annotations

from contextlib import suppress

from app.errors import DatabaseUnavailableError
from app.ledger.records import Move
from app.object_store import ObjectInfo
from app.stages.batch import TASK_SECONDS, Batch
from app.stages.runner import StoppedError

FIRST = "copy"


class BatchKeeper:
    """``app.large_copies.Keeper`` for one move of a batch."""

    def __init__(self, batch: Batch, move: Move) -> None:
        """Nothing is asked yet."""
        self._batch = batch
        self._move = move
        self._numbers: dict[str, str] = {}
        self._since = batch.context.clock.boot()

    def keep(self) -> None:
        """Stop if asked to; renew the lease when half of it is gone, and with it the right of a suspect to be worked on alone (H28)."""
        batch, context = self._batch, self._batch.context
        if context.stopping() or not context.watch.goes_on(batch.run):
            raise StoppedError("the worker or the run stops")
        if batch.result.stage == FIRST and context.clock.boot() - self._since > TASK_SECONDS:
            batch.part_from(self._move)  # the other stages decide the moves of one object together
        remaining = batch.lease.remaining()
        if remaining < context.settings.lease_seconds / 2:
            try:
                self._renew()
            except DatabaseUnavailableError:  # a short outage does not undo what is copied: the lease still lasts for a while
                if remaining < context.settings.request_timeout_seconds:
                    raise

    def _renew(self) -> None:
        batch, context = self._batch, self._batch.context
        batch.flush()  # what is only in memory is not renewed with the rest
        batch.keep_alone()
        context.moves.renew(batch.lease, batch.left, seconds=context.settings.lease_seconds)

    def lend(self) -> bool:
        """A place that no task of this process works on or waits for."""
        return self._batch.context.crowd.lend(1, most=self._batch.context.concurrency(self._batch.result.stage)) == 1

    def give_back(self) -> None:
        """Give such a place back."""
        self._batch.context.crowd.give_back(1)

    def begun(self, key: str, upload_id: str) -> None:
        """Put the upload on record; a copy by parts takes as long as some dozens of small ones."""
        self._batch.go_alone()
        context = self._batch.context
        self._numbers[upload_id] = context.uploads.begin(self._batch.lease, self._move, key=key, upload_id=upload_id)

    def completing(self, upload_id: str, source: ObjectInfo, etag: str) -> None:
        """Put on record by what the object will be known, should the answer get lost (H12)."""
        if etag:
            self._batch.context.uploads.complete(self._numbers[upload_id], source_etag=source.etag, etag=etag)

    def completed(self, upload_id: str) -> None:
        """Take it off the record together with the outcome: until then only the record proves the object ours."""
        self._batch.settle(self._move, self._numbers.pop(upload_id))

    def aborted(self, upload_id: str) -> None:
        """Take it off the record, if it came there before the ledger went away."""
        number = self._numbers.pop(upload_id, None)
        with suppress(DatabaseUnavailableError):  # what ended it counts; the reconciler will find that it is gone
            if number is not None:
                self._batch.context.uploads.end([number])
