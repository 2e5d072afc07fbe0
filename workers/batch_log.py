"""Every log record of a task says whose it is: the stage, the run, and the batch, by the id that Flower shows too."""

from __future__ import annotations

import logging

from celery import current_task

from app.celery_app import RECONCILE_TASK
from app.pipeline import QUEUED

_STAGES = {stage.task: stage.name for stage in QUEUED} | {RECONCILE_TASK: "reconcile"}
_RUN = 1  # of a message's arguments


def name_batch(record: logging.LogRecord) -> bool:
    """Add what the record does not say by itself; a filter, since handlers run it in the thread that logs."""
    request = current_task.request if current_task else None
    if request is None or request.id is None:
        return True
    given = {"stage": _STAGES.get(request.task), "batch": request.id}
    if request.args and len(request.args) > _RUN:
        given["run_id"] = request.args[_RUN]
    for name, value in given.items():
        if value is not None and not hasattr(record, name):
            setattr(record, name, value)
    return True
