"""The statements by which leases are taken and given back, made once."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Integer,
    String,
    Update,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    update,
)

from app.arrays import among
from app.database import MICROSECONDS, database_now
from app.schema import moves, runs

LATE_SECONDS = 60  # after a lease's end, a move that it held is looked for so far in the order of what is due, and no further


def due_after(until: ColumnElement[int]) -> ColumnElement[int]:
    """When the reconciler looks at a move that is leased until *until*: as before, unless that lies too long after the lease.

    An index holds that time. Where no index has to be written PostgreSQL puts the new row on the same page (HOT), at half of the cost
    (docs/decisions.md).
    """
    return case((moves.c.due_at > until + LATE_SECONDS * MICROSECONDS, until), else_=moves.c.due_at)


def is_due_for(stage: str | BindParameter[str]) -> ColumnElement[bool]:
    """A condition on the stage for rows that are found by their ids.

    A database that has no statistics of this stage yet would find few moves in it, and go through millions by the index of what is due.
    """
    return func.coalesce(moves.c.stage, "") == stage


def _take() -> Update:
    now = database_now()
    until = now + bindparam("lease_us", type_=BigInteger)
    free = and_(moves.c.lease_until < now, or_(moves.c.lease_token.is_(None), moves.c.lease_kept))
    running = exists().where(runs.c.no == bindparam("run"), runs.c.state == bindparam("run_state"))
    return (
        update(moves)
        .where(moves.c.run_no == bindparam("run"), among(moves.c.id, "ids"), is_due_for(bindparam("due_for", type_=String)), free)
        .where(moves.c.not_before <= now, moves.c.suspect == bindparam("suspects"), running)
        .values(
            lease_token=bindparam("token"),
            lease_until=until,
            lease_kept=False,
            due_at=due_after(until),
            claims=moves.c.claims + 1,
            claimed_store_time=func.coalesce(moves.c.claimed_store_time, bindparam("store_time", type_=BigInteger)),
        )
    )


TAKE = _take()
TAKE_AND_READ = TAKE.returning(*moves.c)
_MINE = (moves.c.run_no == bindparam("run"), among(moves.c.id, "ids"), moves.c.lease_token == bindparam("token"))
TAKEN = select(moves).where(*_MINE).order_by(moves.c.id)


def _give_back() -> Update:
    now = database_now()
    return (
        update(moves)
        .where(*_MINE)
        .values(
            lease_token=None,
            lease_until=0,
            lease_kept=False,
            hints=bindparam("hints_now", type_=Integer),
            not_before=now + bindparam("wait_us", type_=BigInteger),
            due_at=now + bindparam("due_us", type_=BigInteger),
        )
    )


GIVE_BACK = _give_back()
GIVE_UP = GIVE_BACK.where(moves.c.lease_kept.is_(False))
