"""The delete task."""

from __future__ import annotations

from app.celery_app import celery
from tasks.messages import work


@celery.task(name="delete_objects", shared=False)  # type: ignore[untyped-decorator] # celery has no types
def delete_objects(deployment: str, run_id: str, move_ids: list[int]) -> str:
    """Look after a batch of switched moves, and delete the old objects of those that are due."""
    return work("delete", deployment, run_id, move_ids)
