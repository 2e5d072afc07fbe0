"""Lets moves of runs that ended long ago leave the ledger for the bucket (app.window), a while at each of the reconciler's ticks."""

from __future__ import annotations

import logging
import time

from app import resources
from app.errors import RekeyError
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


def leave() -> list[str]:
    """Let some leave, if the operator wants that; gives what to say of it."""
    global _idle_until, _session  # noqa: PLW0603 - the process's own memory
    days = resources.settings().ledger_days
    if not days or time.monotonic() < _idle_until:
        return []
    said, end = [], time.monotonic() + SECONDS
    ledger = ArchiveLedger(resources.engine())
    try:
        for run in ledger.ended_before(days * DAY):
            gone = _leave(run, ledger, end=end)
            if gone:
                said.append(f"run {run.id[:8]}: {gone} moves have left the ledger")
                log.info("%s", said[-1], extra={"action": "moves_left", "run_id": run.id})
            if time.monotonic() > end:
                return said
    except RekeyError as error:  # what has left has left; a later tick goes on
        said.append(stopped("leaving the ledger", "", error))
        _session = new_session()
    _idle_until = time.monotonic() + IDLE_SECONDS
    return said


def _leave(run: Run, ledger: ArchiveLedger, *, end: float) -> int:
    store = resources.store(run.bucket, run.capabilities, pool_size=1)
    try:
        return take_out(run, ledger=ledger, store=store, session=_session, goes_on=lambda: time.monotonic() < end)
    finally:
        store.close()
