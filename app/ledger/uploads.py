"""The ledger of multipart uploads under way, so that none is left behind, whoever dies (S7).

An upload is ours only because it stands here: the store's own list names keys and ids, and nothing that tells one writer from another.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, bindparam, delete, insert, select, update

from app.database import database_now, transaction
from app.ledger.records import Lease, Move, Run
from app.schema import moves, uploads

_REFUSED = "refused"  # in a lease token's place, which is no matter any more: the store has refused to abort the upload


@dataclass(frozen=True, slots=True)
class LeftUpload:
    """An upload whose worker lost its lease."""

    id: str
    key: str
    upload_id: str
    was_refused: bool  # to be aborted


_HELD = (
    select(moves.c.id)
    .where(moves.c.run_no == uploads.c.run_no, moves.c.id == uploads.c.move_id)
    .where(moves.c.lease_token == uploads.c.lease_token, moves.c.lease_until > database_now())
    .exists()
)
_LEFT = (
    select(uploads.c.id, uploads.c.object_key, uploads.c.upload_id, uploads.c.lease_token == _REFUSED)
    .where(uploads.c.run_no == bindparam("run"), ~uploads.c.is_gone, ~_HELD)
    .order_by(uploads.c.begun_at)
)


class UploadLedger:
    """The rows of rekey_uploads."""

    def __init__(self, engine: Engine) -> None:
        """Keep the engine; nothing is asked yet."""
        self.engine = engine

    def begin(self, lease: Lease, move: Move, *, key: str, upload_id: str) -> str:
        """Note an upload that was just created for *move*; gives its number here. What is known of the move's earlier ones is done with."""
        number = secrets.token_hex(16)
        mine = (uploads.c.run_no == move.run_no, uploads.c.move_id == move.id)
        row = {"id": number, "run_no": move.run_no, "move_id": move.id, "lease_token": lease.token, "object_key": key}
        with transaction(self.engine) as connection:
            connection.execute(delete(uploads).where(*mine, uploads.c.is_gone))
            connection.execute(insert(uploads).values(**row, upload_id=upload_id, is_gone=False, begun_at=database_now()))
        return number

    def complete(self, number: str, *, source_etag: str, etag: str) -> None:
        """Note what is about to be completed, and what the object's ETag will be: evidence, should the answer get lost (H12)."""
        with transaction(self.engine) as connection:
            connection.execute(update(uploads).where(uploads.c.id == number).values(source_etag=source_etag, etag=etag))

    def end(self, numbers: Sequence[str]) -> None:
        """Forget uploads that were completed or aborted."""
        with transaction(self.engine) as connection:
            connection.execute(delete(uploads).where(uploads.c.id.in_(numbers)))

    def completing(self, run: Run) -> frozenset[tuple[int, int]]:
        """(run number, move id) of the moves for which a completion is on record: few, if any."""
        question = select(uploads.c.run_no, uploads.c.move_id).where(uploads.c.run_no == run.no, uploads.c.etag.is_not(None))
        with transaction(self.engine, read_only=True) as connection:
            return frozenset((run_no, move_id) for run_no, move_id in connection.execute(question))

    def joined(self, move: Move) -> set[tuple[str, str]]:
        """The ETags of source and copy of the completions for *move* whose answers nobody heard."""
        mine = (uploads.c.run_no == move.run_no, uploads.c.move_id == move.id)
        question = select(uploads.c.source_etag, uploads.c.etag).where(*mine, uploads.c.etag.is_not(None))
        with transaction(self.engine, read_only=True) as connection:
            return {(source, etag) for source, etag in connection.execute(question)}

    def is_any_held(self, run: Run) -> bool:
        """Whether a worker is, or was a moment ago, about one that its lease covers."""
        mine = select(uploads.c.id).where(uploads.c.run_no == run.no, ~uploads.c.is_gone, _HELD).limit(1)
        with transaction(self.engine, read_only=True) as connection:
            return connection.execute(mine).first() is not None

    def left(self, run: Run) -> list[LeftUpload]:
        """The uploads of *run* that no lease covers any more: every request for them was refused or answered since.

        Those that the store has refused to abort come last, and among the others the oldest first.
        """
        with transaction(self.engine, read_only=True) as connection:
            rows = connection.execute(_LEFT, {"run": run.no}).all()
        found = [LeftUpload(number, key, upload_id, bool(was_refused)) for number, key, upload_id, was_refused in rows]
        return sorted(found, key=lambda upload: upload.was_refused)

    def refused(self, upload: LeftUpload) -> None:
        """Note that the store has refused to abort *upload*: it stays on record, and the others come before it."""
        with transaction(self.engine) as connection:
            connection.execute(update(uploads).where(uploads.c.id == upload.id).values(lease_token=_REFUSED))

    def gone(self, upload: LeftUpload) -> None:
        """Note that *upload* is no more at the store; what it says of a completion stays, until the move is copied anew."""
        with transaction(self.engine) as connection:
            connection.execute(update(uploads).where(uploads.c.id == upload.id).values(is_gone=True))
            connection.execute(delete(uploads).where(uploads.c.id == upload.id, uploads.c.etag.is_(None)))

    def close(self, run: Run) -> None:
        """Forget what is known of uploads that are gone: the run has ended."""
        with transaction(self.engine) as connection:
            connection.execute(delete(uploads).where(uploads.c.run_no == run.no, uploads.c.is_gone))
