"""The delete stage: look after switched assets until the grace is over, then delete the old object, last of all (S1, S2, S4).

Needs: a switched row. Promises: ``deleted`` only where nothing and nobody needs the old object. Destroys: the version that was copied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.database import transaction
from app.errors import ConditionFailedError, ObjectError, TransientError, UnansweredError
from app.ledger.moves import LARGE_FAMILY, Other
from app.ledger.records import Move, Outcome
from app.object_store import MAX_LISTED, ObjectInfo
from app.s3_text import is_deleted_alone
from app.settings import Settings
from app.stages.aftercare import left_over, look_after
from app.stages.batch import Batch
from app.stages.holding import LetGo, going_on, may_go, still_may_go
from app.stages.naming import who_claims
from app.stages.noting import Note, note
from app.stages.outcomes import failed, is_perhaps_done, refused
from app.stages.restoring import restore
from app.stages.views import View, seen_now
from app.states import MoveState

MOST_REFUSED = 50  # looks after which a delete that is still refused as "changed" counts as an error: each look saw the very version
ALONE = 40  # deletes with a request each that a store 100 ms away answers while the looks behind them can be relied on
BUSY_SECONDS = 1.0  # another worker holds a move of the same object


@dataclass(frozen=True, slots=True)
class DeleteObjects:
    """Looks after a batch of switched moves, and deletes the old objects of those that are due."""

    chunk: int = MAX_LISTED  # the more keys, the more of them on one page of a listing

    def act(self, batch: Batch) -> None:
        """Decide the next chunk object by object, then delete what is left of it in one request."""
        moves = _next(batch.left, self.chunk)
        moves += _join_sharing(batch, moves)
        view = seen_now(batch, moves)
        due: list[tuple[Move, ObjectInfo]] = []
        for family in _by_object(moves):
            if all(view.looks.fresh(key) for move in family for key in (move.old_key, move.new_key)):
                due += _decide(batch, view, family)
        going = may_go(batch, view, due)
        with going.charged(batch):
            batch.flush()
            if going.due:
                _delete(batch, view, going)
        batch.flush()
        view.looks.complain()


def _next(left: Sequence[Move], most: int) -> list[Move]:
    """The next *most* of the moves that are *left*, of those whose old keys are deleted one by one no more than get done on one look."""
    alone = [move for move in left if is_deleted_alone(move.old_key)]
    later = {(move.run_no, move.id) for move in alone[ALONE:]}
    return [move for move in left if (move.run_no, move.id) not in later][:most]


def _join_sharing(batch: Batch, moves: Sequence[Move]) -> list[Move]:
    """Claim the other switched moves of the same old objects, so that one worker acts on an object (S7, H13)."""
    context = batch.context
    with transaction(context.moves.engine, read_only=True) as connection:
        sharing = context.moves.sharing_old(connection, {move.old_hash for move in moves})
    mine = {(move.run_no, move.id) for move in batch.left}
    sizes = Counter(other.old_hash for other in sharing)
    others = {
        (other.run_no, other.id): other
        for other in sharing
        if other.run_no == batch.run.no and other.state is MoveState.RENAMED and sizes[other.old_hash] <= LARGE_FAMILY
    }
    missing = [other for key, other in others.items() if key not in mine]
    lease_seconds = context.settings.lease_seconds
    joined = context.moves.claim_others(batch.lease, missing, stage=batch.result.stage, lease_seconds=lease_seconds) if missing else []
    batch.join(joined)
    already = others.keys() - {(move.run_no, move.id) for move in (*moves, *joined)}
    return joined + [move for move in batch.left if (move.run_no, move.id) in already]


def _by_object(moves: Sequence[Move]) -> list[list[Move]]:
    families: dict[bytes, list[Move]] = {}
    for move in moves:
        families.setdefault(move.old_hash, []).append(move)
    return list(families.values())


def _decide(batch: Batch, view: View, family: list[Move]) -> list[tuple[Move, ObjectInfo]]:
    """Give each move of one old object its outcome, or all of them for deletion together."""
    ids = {(move.run_no, move.id) for move in family}
    strangers = [other for other in view.claims.leaving_too(family[0]) if (other.run_no, other.id) not in ids]
    verdicts: list[Outcome | ObjectInfo] = []
    try:
        for move in family:
            verdicts.append(_verdict(batch, view, move, strangers))  # noqa: PERF401 - what was decided before an error counts
    except Exception:
        # A late write may have been copied by now: unless that is on record, the copy is somebody else's at the next look.
        for verdict in verdicts:
            if isinstance(verdict, Outcome):
                batch.add(verdict, say="looked after" if verdict.move.state is MoveState.RENAMED else None)
        batch.flush()
        raise
    if all(isinstance(verdict, ObjectInfo) for verdict in verdicts):
        return [(move, verdict) for move, verdict in zip(family, verdicts, strict=True) if isinstance(verdict, ObjectInfo)]
    waits = [verdict.due_in for verdict in verdicts if isinstance(verdict, Outcome) and verdict.move.state is MoveState.RENAMED]
    for move, verdict in zip(family, verdicts, strict=True):
        # One that is due waits for those of the same object that are not.
        outcome = verdict if isinstance(verdict, Outcome) else Outcome(move=move, due_in=max(waits, default=BUSY_SECONDS))
        batch.add(outcome, say="looked after" if outcome.move.state is MoveState.RENAMED else None)
    return []


def _verdict(batch: Batch, view: View, move: Move, strangers: Sequence[Other]) -> Outcome | ObjectInfo:
    """What becomes of *move* by itself, or the version of its old object that may be deleted."""
    try:
        return look_after(batch, view, move, strangers=strangers)
    except UnansweredError as error:
        batch.unanswered(move, error)
        raise
    except ConditionFailedError:  # somebody wrote meanwhile: looked at again
        return Outcome(move=move._replace(looks=move.looks + 1), due_in=BUSY_SECONDS)
    except ObjectError as error:
        return batch.refused(move, error)


def _delete(batch: Batch, view: View, going: LetGo) -> None:
    context = batch.context
    due, noted = note(batch, view, going.due)
    if not due:
        return
    # The intent is on record before the request: an object found absent later was then deleted by us, or by nobody knows whom (H31).
    intent = [Outcome(move=move, stage=batch.result.stage, keep_lease=True, stamp=frozenset({"intent_at"})) for move, _ in due]
    with transaction(context.moves.engine) as connection:
        held = context.moves.record(batch.lease, intent, connection=connection)
        may = still_may_go(batch, view, connection)
    # Where one of the moves on an object was lost to somebody else, the others do not delete it behind that one's back (S7, H13).
    lost = {move.old_hash for move, _ in due if (move.run_no, move.id) not in held}
    batch.drop([move for move, _ in due if (move.run_no, move.id) not in held])
    due = [(move, found) for move, found in due if (move.run_no, move.id) in held]
    _undecided(batch, [(move, found) for move, found in due if move.old_hash in lost])
    due = [(move, found) for move, found in due if move.old_hash not in lost]
    if not due:
        return
    still = going_on(batch, view, due)
    if not may or not still():
        noted.catch_up(batch)
        _not_sent(batch, view, due)
        return
    objects = {found.key: found for _, found in due}
    going.used = len(due)
    try:
        answers = _sent(batch, list(objects.values()), noted, still=still)
    except UnansweredError as error:
        for move, _ in due:
            batch.unanswered(move._replace(intent_at=view.now), error)
        raise
    except TransientError:
        going.used = 0
        raise
    except ObjectError as error:  # the request as a whole: the credentials may not delete, say
        answers = dict.fromkeys(objects, error)
    going.used = sum(found.key in answers and is_perhaps_done(answers[found.key]) for _, found in due)
    _not_sent(batch, view, [(move, found) for move, found in due if found.key not in answers])
    due = [(move, found) for move, found in due if found.key in answers]
    gone = [move for move, found in due if answers[found.key] is None]
    _ask_again(batch, view, gone)
    for move, found in due:
        answer = answers[found.key]
        if answer is not None:
            meant = move._replace(intent_at=view.now) if is_perhaps_done(answer) else move
            outcome = _not_deleted(meant, answer, settings=context.settings)
            batch.add(
                outcome,
                say="looked after" if outcome.move.state is MoveState.RENAMED and isinstance(answer, ConditionFailedError) else None,
            )


def _not_deleted(move: Move, answer: ObjectError, *, settings: Settings) -> Outcome:
    """What the store's answer makes of a move whose old object is still there, for all that is known."""
    if not isinstance(answer, ConditionFailedError):
        return refused(move, answer, settings=settings)
    if move.looks < MOST_REFUSED:  # somebody wrote meanwhile: looked at again
        return Outcome(move=move._replace(looks=move.looks + 1), due_in=BUSY_SECONDS)
    return failed(move, f"the store refuses the delete as of a changed object: {answer}", settings=settings)


def _sent(batch: Batch, objects: Sequence[ObjectInfo], noted: Note, *, still: Callable[[], bool]) -> Mapping[str, ObjectError | None]:
    try:
        return batch.context.store.delete(objects, deadline=batch.lease, still=still)
    finally:
        noted.catch_up(batch)


def _not_sent(batch: Batch, view: View, due: Sequence[tuple[Move, ObjectInfo]]) -> None:
    """*due* are looked at again; they are noted, and are not noted once more at the next attempt."""
    _undecided(batch, [(move._replace(intent_at=view.now), found) for move, found in due])


def _undecided(batch: Batch, due: Sequence[tuple[Move, ObjectInfo]]) -> None:
    for move, _ in due:
        batch.add(Outcome(move=move), say="looked after")


def _ask_again(batch: Batch, view: View, gone: Sequence[Move]) -> None:
    """Ask the rows once more after the delete: one that names the old object by now gets its bytes back, where that is safe (H23)."""
    after = who_claims(batch.context, gone, [move.old_key for move in gone])
    for move in gone:
        done = move._replace(intent_at=view.now)
        if after.rows_naming(move.old_key):
            batch.add(restore(batch, done))
        else:
            batch.add(Outcome(move=done._replace(state=MoveState.DELETED, detail=left_over(move, view.rows.get(move.row_id)))))
