"""What is due, what is in flight, what was lost: the reconciler's and the report's questions to the ledger."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Engine,
    Integer,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    union_all,
    update,
)

from app.arrays import among
from app.database import MICROSECONDS, database_now, read_now, transaction
from app.errors import OutcomeUnknownError
from app.ledger.counting import Count, count_moves
from app.ledger.lease_statements import LATE_SECONDS
from app.ledger.records import Run
from app.ledger.waking import change_in_pages, forget_hints, now_of
from app.schema import moves, runs
from app.states import OPEN_STATES, MoveState, ParkedReason

LONGEST_HINT_SECONDS = 900
LONGEST_LEASE_SECONDS = 840  # that REKEY_LEASE_SECONDS takes
IDS_A_STATEMENT = 5000  # PostgreSQL takes 65,535 values in a statement, SQLite 32,766
LOOKED_AT = 25_000  # moves of a state of which a report reads more than an index tells: more than MAX_IN_FLIGHT, some 20 ms
_OPEN = sorted(OPEN_STATES)
_IN_FLIGHT = (MoveState.PLANNED, MoveState.COPIED)

# The clock as a value: no index serves a comparison with a clock that runs on.
_HERE = moves.c.run_no == bindparam("run")
_NOW = bindparam("now", type_=BigInteger)
_SENT = select(func.count()).where(_HERE, moves.c.state.in_(_IN_FLIGHT), moves.c.hints > 0)
_IN_HAND = _SENT.where(moves.c.due_at <= _NOW, moves.c.lease_until > _NOW)
_IN_FLIGHT_NOW = select(_SENT.where(moves.c.due_at > _NOW).scalar_subquery() + _IN_HAND.scalar_subquery())
_RIPE = (_HERE, moves.c.due_at <= _NOW, moves.c.lease_until <= _NOW, moves.c.lease_token.is_(None) | moves.c.lease_kept)
# A lease may end before its move is due by itself, though not much (lease_statements.due_after).
_ENDED = (_HERE, moves.c.due_at <= _NOW + LATE_SECONDS * MICROSECONDS, moves.c.lease_until < _NOW, moves.c.lease_token.is_not(None))


def _is_due(state: MoveState) -> ColumnElement[bool]:
    """Whether a move in *state* is due, or was held under a lease that has ended."""
    return or_(*(select(moves.c.id).where(*which, moves.c.state == state).exists() for which in (_RIPE, _ENDED)))


_DUE_STATES = union_all(*(select(literal(str(state))).where(_is_due(state)) for state in _OPEN))
_ANY_OPEN = select(moves.c.id).where(_HERE, moves.c.state.in_(_OPEN)).limit(1)
_ANY_GOING = _ANY_OPEN.where(moves.c.waiting.is_(False))
_ANY_WAITING = _ANY_OPEN.where(moves.c.waiting)
_DUE = (
    *_RIPE,
    moves.c.state == bindparam("due_in"),
    moves.c.stage == bindparam("due_for"),
    moves.c.suspect == bindparam("suspects", type_=Boolean),
)
_DUE_IDS = select(moves.c.id).where(*_DUE).order_by(moves.c.due_at, moves.c.id).limit(bindparam("most", type_=Integer))

_LOST = and_(moves.c.state.in_(_OPEN), *_ENDED, moves.c.lease_kept.is_(False))
_PARK_DEAD = (
    update(moves)
    .where(_LOST, moves.c.suspect, moves.c.deaths + 1 >= bindparam("most_deaths", type_=Integer))
    .ordered_values(  # MySQL assigns from left to right: the old state must be read before it is written
        (moves.c.parked_from, moves.c.state),
        (moves.c.state, MoveState.PARKED),
        (moves.c.reason, ParkedReason.FAILED),
        (moves.c.detail, bindparam("died")),
        (moves.c.deaths, moves.c.deaths + 1),
        (moves.c.live_hash, None),
        (moves.c.suspect, False),
        (moves.c.stage, None),
        (moves.c.lease_token, None),
        (moves.c.hints, 0),
    )
)
_FREE_LOST = (
    update(moves)
    .where(_LOST)
    .values(
        lease_token=None,
        lease_until=0,
        due_at=_NOW,
        not_before=0,
        hints=0,
        deaths=moves.c.deaths + case((moves.c.suspect, 1), else_=0),
        suspect=True,
    )
)
# From then on they are like any other: what forgets hints, wakes or puts off asks for moves without a lease.
_FREE_KEPT = (
    update(moves)
    .where(moves.c.state.in_(_OPEN), *_ENDED, moves.c.lease_kept)
    .values(lease_token=None, lease_kept=False, lease_until=0, due_at=case((moves.c.due_at > _NOW, _NOW), else_=moves.c.due_at), hints=0)
)


class QueueLedger:
    """Due moves and counts."""

    def __init__(self, engine: Engine, *, hint_seconds: float) -> None:
        """Keep the engine; nothing is asked yet."""
        self.engine = engine
        longest = max(hint_seconds, LONGEST_HINT_SECONDS) * MICROSECONDS
        waits = [min(hint_seconds * 2**hints * MICROSECONDS, longest) for hints in range(5)]
        later = case(*((moves.c.hints == hints, literal(int(wait))) for hints, wait in enumerate(waits)), else_=literal(int(longest)))
        stamp = {"due_at": _NOW + later, "hints": moves.c.hints + 1}
        self._stamp = update(moves).where(*_DUE, moves.c.id.in_(bindparam("chunk", expanding=True))).values(stamp)

    def in_flight(self, run: Run) -> int:
        """Planned and copied moves that are leased or have a message out: what MAX_IN_FLIGHT bounds (H27)."""
        with transaction(self.engine, read_only=True) as connection:
            given = {"run": run.no, "now": read_now(connection)}
            return int(connection.execute(_IN_FLIGHT_NOW, given).scalar_one())

    def due_states(self, run: Run) -> frozenset[MoveState]:
        """The states of which any move is due: a tick has mostly nothing to do."""
        with transaction(self.engine, read_only=True) as connection:
            given = {"run": run.no, "now": read_now(connection)}
            return frozenset(MoveState(state) for state in connection.execute(_DUE_STATES, given).scalars())

    def take_due(self, run: Run, *, stage: str, state: MoveState, limit: int, suspects: bool = False) -> list[int]:
        """Stamp up to *limit* due moves as hinted and give their ids; each is hinted again only after HINT_SECONDS, doubling (H26).

        *state*: of the moves that are due for *stage*.
        """
        ids: list[int] = []
        with (
            suppress(OutcomeUnknownError),
            transaction(self.engine) as connection,
        ):  # a message too many does no harm, one too few costs time
            given = {"run": run.no, "now": read_now(connection), "due_in": state, "due_for": stage, "suspects": suspects}
            ids = list(connection.execute(_DUE_IDS, given | {"most": limit}).scalars())
            for start in range(0, len(ids), IDS_A_STATEMENT):
                connection.execute(self._stamp, given | {"chunk": ids[start : start + IDS_A_STATEMENT]})
        return ids

    def forget_hints(self, run: Run) -> None:
        """Messages that were sent before a pause are gone: whatever had one is due now, and so is the seed."""
        forget_hints(self.engine, run)
        with transaction(self.engine) as connection:
            connection.execute(update(runs).where(runs.c.no == run.no).values(seed_due_at=0))

    def mark_suspects(self, run: Run, *, max_deaths: int) -> int:
        """Find leases lost without outcome: those moves run alone from now on, and park once their worker died *max_deaths* times.

        A death counts only if the move was alone already: its batch mates share a process, not the fault (H28). Leases that were kept to
        their end are over in order: what they held is due.
        """
        with transaction(self.engine) as connection:
            now = read_now(connection)
            given = {"run": run.no, "now": now, "most_deaths": max_deaths}
            died = {"died": f"the worker died {max_deaths} times while it was alone on this asset"}
            connection.execute(_FREE_KEPT, given)
            connection.execute(_PARK_DEAD, given | died)
            return connection.execute(_FREE_LOST, given).rowcount

    def extend_kept(self, run: Run, *, seconds: float) -> None:
        """The database's clock was set forward: unanswered requests have not expired for that (S7, H16)."""
        until = now_of(self.engine) + int(seconds * MICROSECONDS)
        kept = (moves.c.lease_token.is_not(None), moves.c.lease_kept, moves.c.lease_until < until)
        change_in_pages(self.engine, run, *kept, lease_until=until, due_at=until)

    def cut_after_jump(self, run: Run) -> None:
        """The database's clock was set back: let nothing lie further off than it can have been meant (H16).

        A lease is cut to the longest that there is, since whoever holds it goes by another clock; what nobody holds is due now.
        """
        now = now_of(self.engine)
        longest = now + LONGEST_LEASE_SECONDS * MICROSECONDS
        change_in_pages(self.engine, run, moves.c.lease_until > longest, lease_until=longest, due_at=longest)
        change_in_pages(self.engine, run, moves.c.lease_token.is_(None), moves.c.due_at > now, due_at=now, not_before=0, hints=0)
        with transaction(self.engine) as connection:
            connection.execute(update(runs).where(runs.c.no == run.no).values(seed_due_at=0, suspect_until=0))

    def counts(self, run: Run) -> list[Count]:
        """All moves of a run as they are at one moment, counted by state; parked and kept ones by reason, planned ones by waiting too."""
        with transaction(self.engine, read_only=True) as connection:
            return count_moves(connection, run)

    def is_open(self, run: Run) -> bool:
        """Whether any move is open."""
        with transaction(self.engine, read_only=True) as connection:
            return connection.execute(_ANY_OPEN, {"run": run.no}).first() is not None

    def is_going(self, run: Run) -> bool:
        """Whether an open move waits for no other move."""
        with transaction(self.engine, read_only=True) as connection:
            return connection.execute(_ANY_GOING, {"run": run.no}).first() is not None

    def is_waiting(self, run: Run) -> bool:
        """Whether an open move waits for another one."""
        with transaction(self.engine, read_only=True) as connection:
            return connection.execute(_ANY_WAITING, {"run": run.no}).first() is not None

    def next_delete_at(self, run: Run) -> int | None:
        """When the first grace of the switched moves is over, or the hold on all deletes (UTC microseconds); looks come before that.

        Moves are switched about in the order of their ids, so that the first ones tell it: their graces are no index's business.
        """
        where = (moves.c.run_no == run.no, moves.c.state == MoveState.RENAMED)
        first = select(moves.c.grace_from, moves.c.grace_seconds).where(*where).order_by(moves.c.id).limit(LOOKED_AT).subquery()
        ends = func.coalesce(first.c.grace_from, database_now()) + first.c.grace_seconds * MICROSECONDS
        with transaction(self.engine, read_only=True) as connection:
            found = connection.execute(select(func.min(ends))).scalar_one_or_none()
        return None if found is None else max(int(found), run.deletes_held_until)

    def last_errors(self, run: Run, *, limit: int = 5) -> list[str]:
        """Details of open moves that had an error, the newest first; of each state, only those due soonest are looked at.

        What had an error is due again within a minute: where nothing moves, it is among the first that are due.
        """
        columns = (moves.c.detail, moves.c.attempts, moves.c.updated_at)
        soonest = [
            select(*columns).where(moves.c.run_no == run.no, moves.c.state == state).order_by(moves.c.due_at).limit(LOOKED_AT).subquery()
            for state in _OPEN
        ]
        looked_at = union_all(*(select(each).where(each.c.attempts > 0) for each in soonest)).subquery()
        newest = select(looked_at.c.detail).order_by(looked_at.c.updated_at.desc()).limit(limit)
        with transaction(self.engine, read_only=True) as connection:
            return [detail for detail in connection.execute(newest).scalars() if detail]

    def end_waiting(self, run: Run) -> int:
        """Only waiting moves are left: park those whose blocker waits too (a cycle), and wake the others (H19).

        Returns:
            How many were parked.
        """
        blocker = moves.alias("blocker")
        other = and_(
            blocker.c.old_hash == moves.c.new_hash,
            blocker.c.state.in_(_OPEN),
            (blocker.c.run_no != moves.c.run_no) | (blocker.c.id != moves.c.id),
        )
        blocked = select(literal(1)).where(other).exists()
        goes = select(literal(1)).where(other, blocker.c.waiting.is_(False)).exists()  # a move of another run, which will go some time
        waiting = (moves.c.run_no == run.no, moves.c.state == MoveState.PLANNED, moves.c.waiting)
        with transaction(self.engine) as connection:
            if connection.execute(select(moves.c.id).where(*waiting, moves.c.lease_token.is_not(None)).limit(1)).first():
                return 0  # somebody looks at one of them just now
            free = list(connection.execute(select(moves.c.id).where(*waiting, ~blocked).limit(IDS_A_STATEMENT)).scalars())
            if free:
                connection.execute(update(moves).where(*waiting, among(moves.c.id, free)).values(due_at=0, not_before=0))
                return 0
            if connection.execute(select(moves.c.id).where(*waiting, goes).limit(1)).first():
                return 0
            parked = connection.execute(
                update(moves)
                .where(*waiting)
                .values(
                    state=MoveState.PARKED,
                    parked_from=MoveState.PLANNED,
                    reason=ParkedReason.TARGET_EXISTS,
                    detail="the new key is the old key of an asset that waits itself: a cycle",
                    live_hash=None,
                    stage=None,
                    waiting=False,
                    updated_at=database_now(),
                )
            )
            return parked.rowcount
