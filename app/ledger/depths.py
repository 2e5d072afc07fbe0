"""What each stage has before it and in hand: what the screen of ``rekey status --watch`` shows of its queues."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import BigInteger, Integer, bindparam, case, func, select

from app.database import MICROSECONDS, read_now, transaction
from app.ledger.queues import LONGEST_HINT_SECONDS, LONGEST_LEASE_SECONDS, LOOKED_AT, QueueLedger
from app.ledger.records import Run
from app.schema import moves
from app.states import MoveState

# A move that has a message out, or that a worker holds, is due again within so long: for those beyond it nothing is to be done yet.
SOON = max(LONGEST_HINT_SECONDS, LONGEST_LEASE_SECONDS) * MICROSECONDS
_SOONEST = (
    select(moves.c.lease_token, moves.c.hints, moves.c.due_at, moves.c.updated_at)
    .where(moves.c.run_no == bindparam("run"), moves.c.state == bindparam("state"), moves.c.due_at <= bindparam("until", type_=BigInteger))
    .order_by(moves.c.due_at)
    .limit(bindparam("most", type_=Integer))
    .subquery()
)
_IN_HAND = _SOONEST.c.lease_token.is_not(None)
_QUEUED = ~_IN_HAND & (_SOONEST.c.hints > 0)
_DUE = ~_IN_HAND & (_SOONEST.c.hints == 0) & (_SOONEST.c.due_at <= bindparam("now", type_=BigInteger))
_DEPTH = select(
    func.count(case((_IN_HAND, 1))),
    func.count(case((_QUEUED, 1))),
    func.count(case((_DUE, 1))),
    func.min(case((_IN_HAND | _QUEUED | _DUE, _SOONEST.c.updated_at))),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """The moves in one state that something is to be done for; of very many, those that are due soonest (``LOOKED_AT``)."""

    in_hand: int  # a worker holds them
    queued: int  # the broker has a message for them
    due: int  # neither: the reconciler sends them at its next tick, if there is room
    oldest_at: int | None  # when the one that has waited longest came here, UTC microseconds

    @property
    def active(self) -> int:
        """All of them."""
        return self.in_hand + self.queued + self.due


def depth_of(queues: QueueLedger, run: Run, state: MoveState) -> Depth:
    """What is to be done for the moves of *run* that are in *state*."""
    with transaction(queues.engine, read_only=True) as connection:
        now = read_now(connection)
        given = {"run": run.no, "state": state, "now": now, "until": now + SOON, "most": LOOKED_AT}
        in_hand, queued, due, oldest_at = connection.execute(_DEPTH, given).one()
    return Depth(in_hand=in_hand, queued=queued, due=due, oldest_at=oldest_at)
