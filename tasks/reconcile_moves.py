"""The reconcile task: beat sends it once a tick."""

from __future__ import annotations

import logging
import socket

from app import resources
from app.celery_app import celery
from app.reconcile import reconcile
from tasks.messages import enqueue, enqueue_seed

log = logging.getLogger(__name__)


@celery.task(name="reconcile_moves", queue="seed")  # type: ignore[untyped-decorator] # celery has no types
def reconcile_moves() -> str:
    """Enqueue again whatever is due in any live run, and end the runs that are over."""
    said = []
    for run in resources.runs().all_live():
        found = reconcile(run, context=resources.context(run), host=socket.gethostname())
        for stage, ids in found.messages:
            enqueue(run, stage, ids)
        if found.seed:
            enqueue_seed(run)
        sent = sum(len(ids) for _, ids in found.messages)
        notes = ([f"{sent} moves sent"] if sent else []) + found.notes
        if notes:
            said.append(f"run {run.id[:8]}: {', '.join(notes)}")
            log.info("%s", said[-1], extra={"action": "reconciled", "run_id": run.id})
    return "; ".join(said) or "nothing is due"
