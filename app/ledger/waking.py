"""Changes of very many moves at once, a page a transaction: the server ends a statement that takes long (H30), and locks are held shortly.

Each is safe to repeat, and goes on where it was broken off.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Engine, or_, select, update

from app.arrays import among
from app.database import MICROSECONDS, read_now, transaction
from app.ledger.records import Run
from app.schema import moves
from app.states import OPEN_STATES

PAGE_MOVES = 5000  # some 0.3 s
LONGEST_BACKOFF_SECONDS = 65  # after an error
_OPEN = sorted(OPEN_STATES)


def change_in_pages(engine: Engine, run: Run, *which: ColumnElement[bool], most: int | None = None, **values: Any) -> int:  # noqa: ANN401
    """Give those open moves of *run* these values, *most* of them; *which* must no longer be true of a move that has them.

    Returns:
        How many were changed.
    """
    changed, here = 0, (moves.c.run_no == run.no, moves.c.state.in_(_OPEN), *which)
    while most is None or changed < most:
        limit = PAGE_MOVES if most is None else min(PAGE_MOVES, most - changed)
        with transaction(engine) as connection:
            ids = list(connection.execute(select(moves.c.id).where(*here).limit(limit)).scalars())
            if not ids:
                break
            changed += connection.execute(update(moves).where(*here, among(moves.c.id, sorted(ids))).values(values)).rowcount
    return changed


def forget_hints(engine: Engine, run: Run) -> None:
    """Messages that were sent before a pause are gone: whatever had one is due now."""
    now = now_of(engine)
    change_in_pages(engine, run, moves.c.hints > 0, moves.c.lease_token.is_(None), moves.c.due_at > now, hints=0, due_at=now)


def wake(engine: Engine, run: Run, *, beyond_seconds: float, most: int) -> int:
    """Make due what waits for longer than *beyond_seconds* without a message; gives how many, *most* of them at a time."""
    now = now_of(engine)
    late = now + int(beyond_seconds * MICROSECONDS)
    no_error = or_(moves.c.attempts == 0, moves.c.due_at > now + LONGEST_BACKOFF_SECONDS * MICROSECONDS)
    waits = (moves.c.hints == 0, moves.c.lease_token.is_(None), moves.c.due_at > late, no_error)
    return change_in_pages(engine, run, *waits, most=most, due_at=now, not_before=0)


def now_of(engine: Engine) -> int:
    """UTC microseconds by the database's clock."""
    with transaction(engine, read_only=True) as connection:
        return read_now(connection)
