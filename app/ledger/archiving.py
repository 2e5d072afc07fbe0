"""Moves that leave the ledger: of a run that has ended, those that nobody can change any more, once the bucket has them (app.archive).

What has left is on record in rekey_meta, a row a run: how far, in which parts, and the counts that the ledger can no longer make. A part
counts from the very transaction that takes its rows out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Connection, Engine, and_, delete, exists, insert, select, update

from app.arrays import among
from app.database import MICROSECONDS, read_now, transaction
from app.errors import RolledBackError, UsageError
from app.ledger.inserting import insert_moves
from app.ledger.records import Run
from app.schema import losses, meta, moves, runs
from app.states import MoveState, RunKind

PART_MOVES = 5000  # some 0.3 s
# No arrow leads out of these but a rollback's, and that of a run whose moves have left is refused.
DONE_WITH = (MoveState.DELETED, MoveState.IN_PLACE, MoveState.SUPERSEDED, MoveState.CANCELLED)
LOST = "not_kept"  # beside the columns of rekey_moves: what the move's copy lacks
_DONE_WITH = sorted(DONE_WITH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What of a run has left the ledger. Parts are numbered from 0; those of one *session* were written by one attempt."""

    through: int = 0  # the last move's number
    parts: int = 0
    sessions: tuple[tuple[str, int], ...] = ()  # by whom, from which part on
    states: Mapping[str, int] | None = None
    held: tuple[int, int] = (0, 0)  # deletes that were sent, and the bytes of their old objects
    lost: Mapping[str, int] | None = None  # from how many deleted moves just which attributes

    def session_of(self, part: int) -> str:
        """Who wrote *part*."""
        return next(session for session, first in reversed(self.sessions) if first <= part)

    def counted(self, rows: Sequence[Mapping[str, Any]], sign: int) -> Archived:
        """With the figures of *rows*, or without them."""
        states, lost = Counter(self.states or {}), Counter(self.lost or {})
        objects, size = self.held
        for row in rows:
            states[str(row["state"])] += sign
            if row["state"] == MoveState.DELETED:
                lost.update({row[LOST]: sign} if row.get(LOST) else {})
                if row.get("intent_at") is not None:
                    objects, size = objects + sign, size + sign * (row.get("source_size") or 0)
        return replace(self, states={**+states}, lost={**+lost}, held=(objects, size))


def note_of(run_id: str) -> str:
    """The name under which it is on record."""
    return f"archived:{run_id}"


def archived(connection: Connection, run_id: str) -> Archived | None:
    """What of a run has left; None where nothing has."""
    return from_text(connection.execute(select(meta.c.value).where(meta.c.name == note_of(run_id))).scalar_one_or_none())


def from_text(text: str | None) -> Archived | None:
    """The record as it is kept."""
    if text is None:
        return None
    found = json.loads(text)
    given = found | {"sessions": tuple((session, first) for session, first in found["sessions"]), "held": tuple(found["held"])}
    return Archived(**given)


def refuse_archived(connection: Connection, run_id: str) -> None:
    """Let nobody act on a run of which a part is not in the ledger, as if that were all.

    Raises:
        UsageError: Moves of it have left the ledger.
    """
    if archived(connection, run_id) is not None:
        raise UsageError(
            f"moves of run {run_id[:8]} have left the ledger for the bucket: `rekey archive --back --run {run_id[:8]}` brings them back"
        )


class ArchiveLedger:
    """Takes moves out of the ledger, and brings them back."""

    def __init__(self, engine: Engine) -> None:
        """Keep the engine; nothing is asked yet."""
        self.engine = engine

    def find(self, run: Run) -> Archived | None:
        """What of *run* has left."""
        with transaction(self.engine, read_only=True) as connection:
            return archived(connection, run.id)

    def ended_before(self, seconds: float) -> list[Run]:
        """The runs that ended so long ago and were never taken back, the oldest first."""
        back = runs.alias("back")
        with transaction(self.engine, read_only=True) as connection:
            long_ago = read_now(connection) - int(seconds * MICROSECONDS)
            ended = (runs.c.live_hash.is_(None), runs.c.finished_at <= long_ago, runs.c.kind == RunKind.MOVE)
            untouched = ~exists().where(back.c.origin_no == runs.c.no)
            rows = connection.execute(select(runs).where(*ended, untouched).order_by(runs.c.no)).mappings()
            return [Run.from_row(dict(row)) for row in rows]

    def was_taken_back(self, run: Run) -> bool:
        """Whether there is a rollback of *run*, of all or a part of it."""
        with transaction(self.engine, read_only=True) as connection:
            return _was_taken_back(connection, run)

    def page(self, run: Run, after: int, *, limit: int = PART_MOVES) -> list[dict[str, Any]]:
        """The next moves that may leave, with all of their columns."""
        with transaction(self.engine, read_only=True) as connection:
            return _page(connection, run, after, limit=limit)

    def take_out(self, run: Run, before: Archived, after: Archived, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Take *rows*, which the bucket has, out of the ledger, and put *after* on record in the place of *before*.

        All in one transaction, under a lock on the run, as every reopening of it and every start of a rollback takes it.

        Returns:
            False where anything is not as it was read: nothing is done then.
        """
        ids = [int(row["id"]) for row in rows]
        with transaction(self.engine) as connection:
            if not _lock(connection, run) or (archived(connection, run.id) or Archived()) != before:
                return False
            if _page(connection, run, before.through, limit=len(rows)) != list(rows):
                return False
            gone = connection.execute(delete(moves).where(moves.c.run_no == run.no, among(moves.c.id, ids), moves.c.state.in_(_DONE_WITH)))
            if gone.rowcount != len(rows):
                raise RolledBackError(f"{gone.rowcount} of {len(rows)} moves could be taken out of the ledger")
            connection.execute(delete(losses).where(losses.c.run_no == run.no, among(losses.c.move_id, ids)))
            _put(connection, run, after)
            return True

    def bring_back(self, run: Run, before: Archived, after: Archived, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Put *rows*, those of the last part, into the ledger again. False where another was faster."""
        whole = [{column.name: row.get(column.name) for column in moves.c} for row in rows]
        with transaction(self.engine) as connection:
            connection.execute(select(runs.c.no).where(runs.c.no == run.no).with_for_update())
            if archived(connection, run.id) != before:
                return False
            insert_moves(connection, whole)
            lost = [{"run_no": run.no, "move_id": row["id"], "attributes": row[LOST]} for row in rows if row.get(LOST)]
            if lost:
                connection.execute(insert(losses), lost)
            _put(connection, run, after)
            return True


def _lock(connection: Connection, run: Run) -> bool:
    """Whether *run* has ended and was never taken back; it stays so until this transaction ends."""
    ended = (runs.c.no == run.no, runs.c.live_hash.is_(None), runs.c.kind == RunKind.MOVE)
    if connection.execute(select(runs.c.no).where(*ended).with_for_update()).first() is None:
        return False
    return not _was_taken_back(connection, run)


def _was_taken_back(connection: Connection, run: Run) -> bool:
    return connection.execute(select(runs.c.no).where(runs.c.origin_no == run.no).limit(1)).first() is not None


def _page(connection: Connection, run: Run, after: int, *, limit: int) -> list[dict[str, Any]]:
    statement = select(moves, losses.c.attributes.label(LOST)).where(
        moves.c.run_no == run.no, moves.c.id > after, moves.c.state.in_(_DONE_WITH)
    )
    statement = statement.outerjoin_from(moves, losses, and_(losses.c.run_no == moves.c.run_no, losses.c.move_id == moves.c.id))
    found = connection.execute(statement.order_by(moves.c.id).limit(limit)).mappings()
    return [
        {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items() if value is not None}
        for row in found
    ]


def _put(connection: Connection, run: Run, now: Archived) -> None:
    here = meta.c.name == note_of(run.id)
    if not now.parts:
        connection.execute(delete(meta).where(here))
        return
    text = json.dumps(asdict(now), separators=(",", ":"))
    if connection.execute(update(meta).where(here).values(value=text)).rowcount == 0:
        connection.execute(insert(meta).values(name=note_of(run.id), value=text))
