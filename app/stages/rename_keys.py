"""The rename stage: switch rows to the new key, in one short transaction a chunk, by compare-and-swap (S5).

Needs: a proved copy. Promises: the row names the new key and the ledger says ``renamed``, or neither. Undone by: rollback.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from sqlalchemy import Connection, exc

from app.assets import AssetRow, Naming
from app.database import brief, transaction
from app.errors import DatabaseUnavailableError, OutcomeUnknownError, RolledBackError, UnansweredError
from app.ledger.records import Move, Outcome
from app.ledger.visits import add_visits
from app.looks import Looks
from app.object_store import MAX_LISTED
from app.stages import going_back
from app.stages.ahead import look_at
from app.stages.batch import Batch
from app.stages.cleaning import park_before_switch
from app.stages.last_looks import before_switch, is_as_copied
from app.stages.outcomes import again
from app.stages.refusals import NOT_YET, Refusal, RejectedError, RowChangedError, ended, rejected
from app.stages.replanning import replan, with_own_key
from app.states import MoveState, ParkedReason, RunKind

ROWS_LOCKED = 200  # at most so many rows of the application's are locked at once, for some hundredths of a second


class OldLooksError(Exception):
    """The looks at the objects are too old by now to rely on: the transaction is rolled back, and the objects are looked at anew."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What a switch relies on: the looks at both objects, and the store's time before which a write to the old key is the row's (S1)."""

    looks: Looks
    store_time: int


@dataclass(frozen=True, slots=True)
class RenameKeys:
    """Switches a batch of copied moves."""

    chunk: int = MAX_LISTED  # the more keys, the more of them on one page of a listing

    def act(self, batch: Batch) -> None:
        """Look at both objects of the next chunk, switch the rows whose copies are good, record."""
        context = batch.context
        moves = batch.left[: self.chunk]
        keys = [key for move in moves for key in (move.old_key, move.new_key)]
        looks = look_at(context, batch.result.stage, keys)
        ready: list[Move] = []
        for move in moves:
            if not looks.fresh(move.old_key, move.new_key):
                continue  # the runner comes back with new looks
            try:
                verdict = before_switch(batch, move, looks)
            except UnansweredError as error:  # the removal of a copy
                batch.unanswered(move, error)
                raise
            if isinstance(verdict, Outcome):
                batch.add(verdict)
            else:
                ready.append(verdict)
        batch.flush()
        for start in range(0, len(ready), ROWS_LOCKED):
            with suppress(OldLooksError):  # the runner comes back with new looks
                switch(batch, [move for move in ready[start : start + ROWS_LOCKED] if looks.fresh(move.old_key, move.new_key)], looks)
        looks.complain()


def switch(batch: Batch, moves: Sequence[Move], looks: Looks) -> None:
    """Switch all rows in one transaction; where one of them is in the way, one by one.

    Raises:
        DatabaseUnavailableError: The ledger does not answer either.
    """
    if not moves:
        return
    looked = Looked(looks, store_time=batch.context.store.store_time())
    try:
        _switch_all(batch, moves, looked)
    except OutcomeUnknownError:
        raise
    except (RowChangedError, DatabaseUnavailableError, exc.DBAPIError):  # a row that is in the way, or has a trigger which raises all this
        for move in moves:
            if batch.time_is_up:
                return
            _switch_one(batch, move, looked)


def _switch_one(batch: Batch, move: Move, looked: Looked, *, again: bool = False) -> None:
    try:
        _switch_all(batch, [move], looked)
    except OutcomeUnknownError:
        raise
    except (RowChangedError, RolledBackError, exc.DBAPIError) as refusal:
        _decide(batch, move, refusal)
    except DatabaseUnavailableError as error:
        with transaction(batch.context.moves.engine, read_only=True) as connection:  # an outage is no row's fault
            batch.context.moves.held(connection, batch.lease, [move])
        if again:  # the database was there before and after
            _decide(batch, move, error)
        else:
            _switch_one(batch, move, looked, again=True)


def _decide(batch: Batch, move: Move, refusal: Refusal) -> None:
    try:  # deciding may send a request: the removal of our copy
        outcome = ended(batch, move, refusal) or rejected(batch, move, refusal) or _changed_row(batch, move)
    except UnansweredError as error:
        batch.unanswered(move, error)
        raise
    batch.add(outcome, say=NOT_YET if outcome.move.attempts > move.attempts else None)
    batch.flush()


def _switch_all(batch: Batch, moves: Sequence[Move], looked: Looked) -> None:
    outcomes: list[Outcome] = []
    try:
        with transaction(batch.context.moves.engine) as connection:
            outcomes = _in_transaction(batch, connection, moves, looked)
    except OutcomeUnknownError:
        # Read back by token on a new connection before going on (H30).
        with transaction(batch.context.moves.engine) as connection:
            held = batch.context.moves.held(connection, batch.lease, moves)
        if not outcomes or any(held.get((done.move.run_no, done.move.id)) is not done.move.state for done in outcomes):
            raise
    _after_commit(batch, outcomes)


def _in_transaction(batch: Batch, connection: Connection, moves: Sequence[Move], looked: Looked) -> list[Outcome]:
    context = batch.context
    held = context.moves.held(connection, batch.lease, moves)
    if len(held) < len(moves):
        raise RowChangedError("a lease was lost")
    rows = context.assets.rows(connection, [move.row_id for move in moves], lock=True)
    if not all(looked.looks.fresh(move.old_key, move.new_key) for move in moves):  # locks were waited for, or the worker stopped (H3)
        raise OldLooksError
    to_switch = _to_switch(batch, moves, rows, looked.looks)
    naming = context.assets.naming(connection, [key for move in moves if not move.same_object for key in (move.old_key, move.new_key)])
    mine = {move.row_id for move in moves}
    if _occupied(batch, connection, to_switch, naming):
        raise RowChangedError("another row names a new key")
    context.assets.set_keys(connection, [(rows[move.row_id], move.new_key) for move in to_switch])
    stored = context.assets.rows(connection, sorted(mine))
    for move in moves:
        row = stored.get(move.row_id)
        if row is None or row.key != move.new_key:
            raise RejectedError(f"the database stored {row.key if row else None!r} instead of the new key")
    outcomes = [
        _switched(
            move,
            grace_seconds=context.settings.grace_seconds,  # as it is set by now; later changes are not for this move (H16)
            switch_store_time=looked.store_time,
            sighted=_is_named(naming.get(context.rules.equivalence.canonical(move.old_key), []), mine),
        )
        for move in moves
    ]
    context.moves.record(batch.lease, outcomes, connection=connection)
    if batch.run.origin_no is not None:
        # A row that the service has set back itself may be another asset's by now: its former move says nothing of others' (H5, H18).
        context.rollbacks.mark(connection, batch.run, [move.id for move in to_switch])
    if context.settings.after_switch:
        add_visits(connection, batch.run, [done.move.id for done in outcomes if done.move.state is MoveState.RENAMED])
    return outcomes


def _to_switch(batch: Batch, moves: Sequence[Move], rows: Mapping[str, AssetRow], looks: Looks) -> list[Move]:
    """Those of *moves* whose rows are as planned; the others' name their new keys already, and all that a switch sets in motion is to come.

    Raises:
        RowChangedError: A row is neither.
    """
    left = []
    for move in moves:
        row = rows.get(move.row_id)
        if row is not None and row.key == move.new_key:
            continue  # switched by the application's own hand
        if row is None or row.key != move.old_key or not _same_plan(batch, move, row):
            raise RowChangedError(f"row {move.row_id} changed")
        if not move.same_object and not is_as_copied(move, looks.found[move.old_key]):  # it was seen as switched, and set back since
            raise RowChangedError(f"row {move.row_id} was set back to another object")
        left.append(move)
    return left


def _occupied(batch: Batch, connection: Connection, moves: Sequence[Move], naming: Mapping[str, Sequence[Naming]]) -> bool:
    """Whether a row that has nothing to do there names the new key of one of *moves* (S5)."""
    canonical = batch.context.rules.equivalence.canonical
    goes_back = batch.run.kind is RunKind.ROLLBACK
    others = {
        # Where a rollback has written nothing, a reference is to the very object that the row is switched back to.
        move.new_hash: [
            other
            for other in naming.get(canonical(move.new_key), [])
            if other.row_id != move.row_id and not (other.is_reference and goes_back and not move.copy_recorded)
        ]
        for move in moves
        if not move.same_object
    }
    found = {hashed: named for hashed, named in others.items() if named}
    if not found or not goes_back:
        return bool(found)
    return bool(going_back.strangers_in(connection, batch.run, found))


def _same_plan(batch: Batch, move: Move, row: AssetRow) -> bool:
    """Compute the new key again from the row as it is: the asset may have moved to another client (H10)."""
    return batch.context.rules.still_gives(row, move.new_key, same_object=move.same_object)


def _is_named(old: Sequence[Naming], switched: Collection[str]) -> bool:
    """Whether a row that is not switched now names the old object: its readers' grace begins when it does so no more (H29)."""
    return any(naming.row_id not in switched for naming in old)


def _switched(move: Move, *, grace_seconds: int, switch_store_time: int, sighted: bool) -> Outcome:
    switched = move._replace(
        grace_seconds=grace_seconds,
        switch_store_time=switch_store_time,
        state=MoveState.IN_PLACE if move.same_object else MoveState.RENAMED,
        switched_at=None,  # stamped after the commit was seen; an earlier switch's stamp would let the grace end too early (H14, H16)
        grace_from=None,
        claims=0,
        attempts=0,
        looks=0,
        missed_store_time=None,
        sighted=sighted,
        intent_at=None,
        detail=None,
    )
    return Outcome(move=switched, keep_lease=True)  # until the commit was seen


def _after_commit(batch: Batch, outcomes: Sequence[Outcome]) -> None:
    """The commit was seen: only now the grace begins (H16), and the lease goes.

    Raises:
        OutcomeUnknownError: The grace could not be begun: nothing else becomes of these rows, which are switched. A later look begins it.
    """
    context = batch.context
    batch.done(outcomes)
    stamped = []
    for outcome in outcomes:
        grace = outcome.move.grace_seconds
        first_look = max(0.0, min(context.settings.look_seconds - context.settings.reconcile_seconds, grace))
        stamped.append(
            replace(
                outcome,
                keep_lease=False,
                hinted=grace == 0,
                due_in=0.0 if grace == 0 else min(first_look, grace),
                stamp=frozenset({"switched_at", "grace_from"}),
            )
        )
    try:
        written = context.moves.record(batch.lease, stamped)
    except (DatabaseUnavailableError, exc.DBAPIError) as error:  # whatever it is, the rows are switched
        raise OutcomeUnknownError(f"the grace of rows that are switched could not be begun: {brief(error)}") from error
    for outcome in stamped:
        if outcome.hinted and outcome.move.state is MoveState.RENAMED and (outcome.move.run_no, outcome.move.id) in written:
            batch.result.ready.append(outcome.move.id)


def _changed_row(batch: Batch, move: Move) -> Outcome:
    """The row is not as it was planned: gone, re-pointed, of another client, or its new key is named by another row."""
    context = batch.context
    with transaction(context.moves.engine, read_only=True) as connection:
        row = context.assets.rows(connection, [move.row_id]).get(move.row_id)
        naming = context.assets.naming(connection, [move.new_key])
        occupied = _occupied(batch, connection, [move], naming)
    if row is not None and row.key == move.old_key and _same_plan(batch, move, row):
        if occupied:
            return with_own_key(batch, move) or park_before_switch(batch, move, ParkedReason.TARGET_EXISTS, "a row names the new key")
        # It was as planned after all, or changes while we look: once more.
        return again(move, settings=context.settings, detail="the row changed during the switch", to=MoveState.COPIED)
    return replan(batch, move, row)
