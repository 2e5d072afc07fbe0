"""The reconcile task: beat sends it once a tick."""

from __future__ import annotations

import logging
import socket

from app import resources
from app.celery_app import celery
from app.errors import RekeyError
from app.ledger.records import Run
from app.ledger.throttles import RECONCILER
from app.reconcile import reconcile
from tasks.leaving import leave
from tasks.messages import enqueue, enqueue_seed, enqueue_visit, queue_depth, stopped
from tasks.webhook import tell

log = logging.getLogger(__name__)


@celery.task(name="reconcile_moves", shared=False)  # type: ignore[untyped-decorator] # celery has no types
def reconcile_moves() -> str:
    """Enqueue again whatever is due in any live run, and end the runs that are over."""
    said = []
    try:
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
        if notes:
            said.append(f"run {run.id[:8]}: {', '.join(notes)}")
            log.info("%s", said[-1], extra={"action": action, "run_id": run.id})
    said += leave()
    tell()
    return "; ".join(said) or "nothing is due"


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
