"""The copy task."""

from __future__ import annotations

from app.celery_app import celery
from tasks.messages import work


@celery.task(name="copy_objects", shared=False)  # type: ignore[untyped-decorator] # celery has no types
def copy_objects(deployment: str, run_id: str, move_ids: list[int]) -> str:
    """Copy a batch of planned moves, then hand the copied ones to the rename stage."""
    return work("copy", deployment, run_id, move_ids)
