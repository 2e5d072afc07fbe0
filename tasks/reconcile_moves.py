"""The reconcile task: beat sends it once a tick."""

from __future__ import annotations

import logging
import socket
from contextlib import suppress

from app import resources, tick_failures
from app.celery_app import celery
from app.errors import RekeyError
from app.ledger.records import Run
from app.ledger.throttles import RECONCILER
from app.reconcile import reconcile
from tasks.leaving import leave
from tasks.messages import enqueue, enqueue_seed, enqueue_visit, in_words, queue_depth, stopped
from tasks.webhook import tell

log = logging.getLogger(__name__)
_failing: dict[str, str] = {}  # what was said last of a run whose tick fails, by its id


@celery.task(name="reconcile_moves", shared=False)  # type: ignore[untyped-decorator] # celery has no types
def reconcile_moves() -> str:
    """Enqueue again whatever is due in any live run, and end the runs that are over."""
    said = []
    try:
        resources.deployment()  # a database without the ledger says so in one line
        live = resources.runs().all_live()
    except RekeyError as error:
        log.warning("the reconciler stopped: %s", error, extra={"action": "batch_released"})
        return f"stopped: {error}"
    for run in live:
        try:
            notes, action = _tick(run)
        except RekeyError as error:  # the next tick tries again
            said.append(stopped("reconcile", run.id, error))
            continue
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one run, the others have their tick
            said.append(_failed(run, error))
            continue
        _well(run)
        if notes:
            said.append(f"run {run.id[:8]}: {', '.join(notes)}")
            log.info("%s", said[-1], extra={"action": action, "run_id": run.id})
    for gone in _failing.keys() - {run.id for run in live}:
        del _failing[gone]
    said += leave()
    tell()
    return "; ".join(said) or "nothing is due"


def _failed(run: Run, error: Exception) -> str:
    """Say what nobody expected, in the log once a change and in `rekey status` as long as it lasts."""
    why = in_words(error)
    if _failing.get(run.id) != why:
        _failing[run.id] = why
        log.error("reconcile of run %s fails: %s", run.id[:8], why, extra={"action": "run_failing", "run_id": run.id})
        log.debug("it was raised here", exc_info=error)
    with suppress(Exception):  # the log has it
        tick_failures.keep(resources.runs(), run, why)
    return f"run {run.id[:8]} fails: {why}"


def _well(run: Run) -> None:
    if _failing.pop(run.id, None) is not None:
        log.info("reconcile of run %s works again", run.id[:8], extra={"action": "reconciled", "run_id": run.id})
        with suppress(RekeyError):  # it is too old to be shown in a moment
            tick_failures.keep(resources.runs(), run, None)


def _tick(run: Run) -> tuple[list[str], str]:
    """One run; gives what to say of it, and what the log calls that."""
    context = resources.context(run)
    found = reconcile(run, context=context, host=socket.gethostname(), depth=queue_depth)
    for stage, ids in found.messages:
        enqueue(run, stage, ids)
    for ids in found.visits:
        enqueue_visit(run, ids)
    if found.seed:
        enqueue_seed(run)
    sent = sum(len(ids) for _, ids in found.messages)
    if sent or found.deaths:
        context.note(run, RECONCILER, outcomes=sent, failed=found.deaths)
    return ([f"{sent} moves sent"] if sent else []) + found.notes, found.action
