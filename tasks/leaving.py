"""Lets moves of runs that ended long ago leave the ledger for the bucket (app.window), a while at each of the reconciler's ticks."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from app import resources
from app.errors import RekeyError, TransientError
from app.ledger.archiving import ArchiveLedger
from app.ledger.records import Run
from app.window import new_session, take_out
from tasks.messages import stopped

SECONDS = 2.0  # at one tick, which other runs wait for
IDLE_SECONDS = 600.0  # where nothing was left to do: to find that out, all that stays in the ledger is looked through
DAY = 86_400

log = logging.getLogger(__name__)
_idle_until = 0.0
_session = new_session()
_failed: dict[str, float] = {}  # when a run's moves could not leave the last time, by its id


def leave() -> list[str]:
    """Let some leave, if the operator wants that; gives what to say of it."""
    global _idle_until  # noqa: PLW0603 - the process's own memory
    days = resources.settings().ledger_days
    if not days or time.monotonic() < _idle_until:
        return []
    said: list[str] = []
    end = time.monotonic() + SECONDS
    ledger = ArchiveLedger(resources.engine())
    try:
        for run in _in_turn(ledger.ended_before(days * DAY)):
            said += _leave(run, ledger, end=end)
            if time.monotonic() > end:
                return said
    except RekeyError as error:  # store or ledger is away, for the other runs too; what has left has left, and a later tick goes on
        said.append(stopped("leaving the ledger", "", error))
    _idle_until = time.monotonic() + IDLE_SECONDS
    return said


def _in_turn(runs: Sequence[Run]) -> list[Run]:
    """*runs*, but for those that failed a moment ago; those that failed longer ago come last, so that they hold up no other."""
    now = time.monotonic()
    for run_id in _failed.keys() - {run.id for run in runs}:
        del _failed[run_id]
    never = float("-inf")
    return sorted((run for run in runs if now - _failed.get(run.id, never) >= IDLE_SECONDS), key=lambda run: _failed.get(run.id, never))


def _leave(run: Run, ledger: ArchiveLedger, *, end: float) -> list[str]:
    """Let moves of *run* leave; gives what to say of it. Raises TransientError."""
    global _session  # noqa: PLW0603 - as above
    try:
        gone = _take_out(run, ledger, end=end)
    except Exception as error:  # whatever it is, the other runs' moves leave
        _failed[run.id] = time.monotonic()
        _session = new_session()
        if isinstance(error, TransientError):
            raise
        return [stopped("leaving the ledger", run.id, error)]
    _failed.pop(run.id, None)
    if not gone:
        return []
    said = f"run {run.id[:8]}: {gone} moves have left the ledger"
    log.info("%s", said, extra={"action": "moves_left", "run_id": run.id})
    return [said]


def _take_out(run: Run, ledger: ArchiveLedger, *, end: float) -> int:
    store = resources.store(run.bucket, run.capabilities, pool_size=1)
    try:
        return take_out(run, ledger=ledger, store=store, session=_session, goes_on=lambda: time.monotonic() < end)
    finally:
        store.close()
