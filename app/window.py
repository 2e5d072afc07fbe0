"""A window for the ledger: moves of runs that ended long ago leave it for the bucket, part by part, and come back on demand.

Each part is written, read back, compared, and only then taken out of the ledger, in one transaction that looks at its rows once more. An
attempt that comes to grief at any place leaves an object that nobody reads, or nothing; the next one begins where the ledger is.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from app import archive
from app.archive import ArchiveError, Head
from app.ledger.archiving import PART_MOVES, Archived, ArchiveLedger
from app.object_store import Seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.ledger.records import Run
    from app.object_store import ObjectStore

PATIENCE = Seconds(600.0)  # the request time-out ends each request sooner


def new_session() -> str:
    """A name for attempts of one worker, up to one that fails: it is in the keys of what they write, so that each key is used once."""
    return secrets.token_hex(4)


def take_out(
    run: Run,
    *,
    ledger: ArchiveLedger,
    store: ObjectStore,
    session: str,
    goes_on: Callable[[], bool] = lambda: True,
    moves: int = PART_MOVES,
) -> int:
    """Let moves of *run* leave the ledger, part by part while *goes_on* says so; gives how many have left.

    Raises:
        ArchiveError: The bucket does not hold what was written: the ledger keeps its rows.
        ObjectError, TransientError: Store or database does not answer as it should; what has left by then has left.
    """
    gone = 0
    now = ledger.find(run) or Archived()
    while goes_on():
        rows = ledger.page(run, now.through, limit=moves)
        if not rows:
            break
        later = replace(
            now.counted(rows, 1),
            through=int(rows[-1]["id"]),
            parts=now.parts + 1,
            sessions=now.sessions if now.sessions[-1:] and now.sessions[-1][0] == session else (*now.sessions, (session, now.parts)),
        )
        head = Head(bucket=run.bucket, table=run.table_name, run=run.id, after=now.through, last=later.through)
        archive.write(store, archive.key_of(run.id, session, now.parts), archive.pack(head, rows), deadline=PATIENCE)
        if not ledger.take_out(run, now, later, rows):
            break  # it was reopened, or another is at it
        now, gone = later, gone + len(rows)
    return gone


def bring_back(run: Run, *, ledger: ArchiveLedger, store: ObjectStore) -> int:
    """Let all that has left come back into the ledger, the last part first; gives how many moves did. The objects stay.

    Raises:
        ArchiveError: A part is not what was written.
        ObjectError, TransientError: As above.
    """
    back = 0
    now = ledger.find(run)
    while now is not None:
        part = now.parts - 1
        key = archive.key_of(run.id, now.session_of(part), part)
        head, rows = archive.read(store, key)
        if (head.run, head.last) != (run.id, now.through):
            raise ArchiveError(f"{key!r} is not the part that the ledger means")
        earlier = replace(
            now.counted(rows, -1),
            through=head.after,
            parts=part,
            sessions=tuple((session, first) for session, first in now.sessions if first < part),
        )
        if not ledger.bring_back(run, now, earlier, rows):
            break
        back += len(rows)
        now = earlier if part else None
    return back
