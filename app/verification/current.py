"""Table, bucket and ledger as they are now: what looked wrong in what was read is asked for once more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import select

from app.arrays import among
from app.assets import AssetRow
from app.database import transaction
from app.looks import Looks, look
from app.row_ids import shown
from app.schema import moves
from app.states import OPEN_STATES, MoveState
from app.verification.subject import Subject

MOST = 10_000  # moves that have to do with one page of objects: more are not read


def look_at(subject: Subject, keys: Iterable[str]) -> Looks:
    """Look at all of *keys*, however long that takes; each look is by itself a fresh one."""
    seen = Looks(subject.clock)
    left = list(dict.fromkeys(keys))
    while left:
        looks = look(subject.store, left, clock=subject.clock)
        seen.found.update(looks.found)
        seen.failed.update(looks.failed)
        seen.sent_at.update(looks.sent_at)
        left = [key for key in left if key not in looks.sent_at]
    return seen


def rows_now(subject: Subject, row_ids: Sequence[str]) -> dict[str, AssetRow]:
    """Rows as they are, by id."""
    with transaction(subject.engine, read_only=True) as connection:
        return subject.assets.rows(connection, row_ids)


def key_of(row: AssetRow | None) -> str | None:
    """The key that a row names, None where it is gone or names none."""
    return row.key if row is not None and isinstance(row.key, str) else None


def ledger_on(subject: Subject, keys: Sequence[str]) -> dict[bytes, tuple[MoveState, str]]:
    """What the newest move, of any run, has to do with each object; a live one before any other."""
    if not keys or not subject.has_ledger:
        return {}
    hashes = sorted({subject.rules.hash_of(key) for key in keys})
    columns = (moves.c.state, moves.c.reason, moves.c.row_id, moves.c.old_hash, moves.c.live_hash)
    found: dict[bytes, tuple[MoveState, str]] = {}
    with transaction(subject.engine, read_only=True) as connection:
        for column in (moves.c.old_hash, moves.c.live_hash):
            for row in connection.execute(select(*columns).where(among(column, hashes)).order_by(moves.c.run_no).limit(MOST)):
                state = MoveState(row.state)
                object_hash = bytes(row.old_hash if column is moves.c.old_hash else row.live_hash)
                if object_hash not in found or found[object_hash][0] not in OPEN_STATES:
                    words = ": ".join(filter(None, (row.state, row.reason)))
                    what = "old object" if column is moves.c.old_hash else "copy"
                    found[object_hash] = state, f"the {what} of row {shown(row.row_id)}, {words}"
    return found
