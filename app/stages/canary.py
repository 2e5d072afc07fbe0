"""Canary reads: some assets are read as the service reads them, row first, then object, all through the run.

They see what no check of ours asks for: a bucket policy that opens the old prefix and not the new one, an object that HEADs fine and
cannot be read, one that somebody has removed. A read that fails pauses the run. An object that is not found may be one whose row goes in a
moment (A3), or that the store does not see just now (case 16): it is looked for again, and all deletes wait for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from app.errors import MissingObjectError, ObjectError, TransientError
from app.ledger.canaries import Canaries
from app.ledger.records import Move, Run
from app.redaction import redact
from app.spacing import spaced
from app.stages.context import Context
from app.states import MoveState, RunState

LOOKS = 3  # at least, one a tick, before an object is called missing
READ_BYTES = 65_536  # of an object: enough to see that its bytes come
TICK_SECONDS = 2.0  # a tick has other work: slow stores are read less often
APART_SECONDS = 0.1  # between two requests, to a store that has asked for fewer: these must not be what it complains of
HELD_TICKS = 4  # for which deletes are held beyond SETTLE_SECONDS: so late may the last look come


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What a tick has seen."""

    reads: int = 0
    missing: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    failure: str | None = None  # without the object's key: keys may be secret


def read_canaries(run: Run, *, context: Context) -> str | None:
    """Read some assets; what the first failure is, noted, with the run paused for it."""
    most = context.settings.canary_reads
    if not most:
        return None
    before = context.canaries.find(run)
    seen = _Seen()
    again = context.moves.load(run, [move_id for move_id, _, _ in before.missing.values()]) if before.missing else []
    chosen = [move for move in context.canaries.sample(run, most=most) if move.row_id not in before.missing]
    with spaced(APART_SECONDS if run.rates else 0.0):
        _read_all([*again, *chosen], context, before, seen)
    _note(run, context, before, seen)
    return seen.failure


def _read_all(moves: Sequence[Move], context: Context, before: Canaries, seen: _Seen) -> None:
    end = context.clock.boot() + TICK_SECONDS
    for move in moves:
        late = context.clock.boot() > end
        try:
            if not late and seen.failure is None:
                _read(context, move, before, seen)
                continue
        except TransientError:  # store or database do not answer: nothing is known, and the stages wait too
            end = float("-inf")
        if move.row_id in before.missing:
            seen.missing[move.row_id] = before.missing[move.row_id]


def _note(run: Run, context: Context, before: Canaries, seen: _Seen) -> None:
    context.canaries.note(run, lambda latest: _added(latest, before, seen))
    if seen.failure:
        context.runs.set_state(run, RunState.PAUSED, only_from=RunState.RUNNING)
    elif seen.missing:
        settings = context.settings
        context.runs.hold_deletes(run, seconds=settings.settle_seconds + HELD_TICKS * settings.reconcile_seconds)


def _added(latest: Canaries, before: Canaries, seen: _Seen) -> Canaries:
    """*latest* with what was *seen* since *before*; what another tick misses by now is its to look for."""
    missing = seen.missing
    if latest != before:
        missing = {row_id: missed for row_id, missed in missing.items() if row_id not in before.missing} | dict(latest.missing)
    now = replace(latest, reads=latest.reads + seen.reads, missing=missing)
    return replace(now, failed=now.failed + 1, last_failure=seen.failure, stopped=True, missing={}) if seen.failure else now


def _read(context: Context, move: Move, before: Canaries, seen: _Seen) -> None:
    row = context.row_of(move)
    if row is None or row.key not in {move.old_key, move.new_key}:
        return  # the asset is gone, or none of ours any more
    try:
        context.store.read(row.key, max_bytes=READ_BYTES)
        closed = _is_closed(context, move)
    except ObjectError as error:
        # Not at once: a store that starts again, or whose drives are out, refuses and denies what it serves a moment later.
        now = context.store.store_time()
        _, looks, since = before.missing.get(move.row_id, (move.id, 0, now))
        seen.missing[move.row_id] = (move.id, looks + 1, since)
        if looks + 1 >= LOOKS and now - since >= context.settings.settle_seconds:
            seen.failure = f"row {move.row_id}: {_in_words(error)}, for {now - since} s"
    else:
        if closed:
            seen.failure = (
                f"row {move.row_id}: anybody may read the old object, and not the new one: does the bucket's policy name the new prefix?"
            )
    seen.reads += 1


def _in_words(error: ObjectError) -> str:
    if isinstance(error, MissingObjectError):
        return "no object at the key that the row names"
    return f"the object cannot be read ({type(error).__name__.removesuffix('Error')}: {redact(error.detail)})"


def _is_closed(context: Context, move: Move) -> bool:
    """Whether readers without credentials get the old object, and not the new one; asked while both are there."""
    if move.state is MoveState.DELETED or move.old_key == move.new_key:
        return False
    return context.store.is_public(move.old_key) and not context.store.is_public(move.new_key)
