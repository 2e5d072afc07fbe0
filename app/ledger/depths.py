"""What each stage has before it and in hand: what the screen of ``rekey status --watch`` shows of its queues."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import BigInteger, Integer, bindparam, case, func, select

from app.database import MICROSECONDS, read_now, transaction
from app.ledger.queues import LONGEST_HINT_SECONDS, LONGEST_LEASE_SECONDS, LOOKED_AT, QueueLedger
from app.ledger.records import Run
from app.schema import moves
from app.states import MoveState

# A move that has a message out, or that a worker holds, is due again within so long: for those beyond it nothing is to be done yet.
HINT_SECONDS = 60  # where the run's record has none
SOON = max(LONGEST_HINT_SECONDS, LONGEST_LEASE_SECONDS) * MICROSECONDS
_SOONEST = (
    select(
        *(moves.c.lease_token, moves.c.lease_until, moves.c.hints, moves.c.due_at, moves.c.updated_at),
        *(moves.c.missed_store_time, moves.c.looks, moves.c.waiting),
    )
    .where(moves.c.run_no == bindparam("run"), moves.c.state == bindparam("state"), moves.c.due_at <= bindparam("until", type_=BigInteger))
    .order_by(moves.c.due_at)
    .limit(bindparam("most", type_=Integer))
    .subquery()
)
_IN_HAND = _SOONEST.c.lease_token.is_not(None)
_QUEUED = ~_IN_HAND & (_SOONEST.c.hints > 0)
_DUE = ~_IN_HAND & (_SOONEST.c.hints == 0) & (_SOONEST.c.due_at <= bindparam("now", type_=BigInteger))
_MISSED = _SOONEST.c.missed_store_time.is_not(None) & (_SOONEST.c.looks > 0)
_HINT_US = bindparam("hint_us", type_=BigInteger)
_WAIT_US = case(
    *((_SOONEST.c.hints == hints, _HINT_US * 2 ** (hints - 1)) for hints in range(1, 5)), else_=LONGEST_HINT_SECONDS * MICROSECONDS
)
_DEPTH = select(
    func.count(case((_IN_HAND, 1))),
    func.count(case((_QUEUED, 1))),
    func.count(case((_DUE, 1))),
    func.min(case((_IN_HAND | _QUEUED | _DUE, _SOONEST.c.updated_at))),
    func.max(case((_IN_HAND, _SOONEST.c.lease_until))),
    func.min(case((_QUEUED, _SOONEST.c.due_at - _WAIT_US))),
    func.min(case((_QUEUED, _SOONEST.c.due_at))),
    func.count(case((_QUEUED & (_SOONEST.c.hints > 1), 1))),
    func.count(case((_MISSED, 1))),
    func.max(case((_MISSED, _SOONEST.c.missed_store_time))),
    func.count(case((~_MISSED & ~_SOONEST.c.waiting, 1))),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """The moves in one state that something is to be done for; of very many, those that are due soonest (``LOOKED_AT``)."""

    in_hand: int  # a worker holds them
    queued: int  # the broker has a message for them
    due: int  # neither: the reconciler sends them at its next tick, if there is room
    oldest_at: int | None  # when the one that has waited longest came here, UTC microseconds
    leased_until: int | None = None  # the end of the lease that was taken, or kept up, last
    sent_at: int | None = None  # the first message of those that are out
    sent_again_at: int | None = None  # when the first of the queued moves is sent again, should its message be lost
    resent: int = 0  # queued moves whose message is not the first one
    missing: int = 0  # planned moves whose object was not there, which is looked for again
    missed_at: int | None = None  # when that was first seen of the last of them (UTC seconds, the store's)
    others: int = 0  # moves that wait neither for that nor for another move

    @property
    def active(self) -> int:
        """All of them."""
        return self.in_hand + self.queued + self.due


_FIGURES = tuple(figure.name for figure in fields(Depth))  # in the order of the question


def depth_of(queues: QueueLedger, run: Run, state: MoveState) -> Depth:
    """What is to be done for the moves of *run* that are in *state*."""
    with transaction(queues.engine, read_only=True) as connection:
        now = read_now(connection)
        hint_us = int(run.settings.get("hint_seconds", HINT_SECONDS)) * MICROSECONDS
        given = {"run": run.no, "state": state, "now": now, "until": now + SOON, "most": LOOKED_AT, "hint_us": hint_us}
        found = connection.execute(_DEPTH, given).one()
    figures: dict[str, Any] = {name: None if value is None else int(value) for name, value in zip(_FIGURES, found, strict=True)}
    return Depth(**figures)
