"""The rename task."""

from __future__ import annotations

from app.celery_app import celery
from tasks.messages import work


@celery.task(name="rename_keys", shared=False)  # type: ignore[untyped-decorator] # celery has no types
def rename_keys(deployment: str, run_id: str, move_ids: list[int]) -> str:
    """Switch the rows of a batch of copied moves, then hand those without a grace to the delete stage."""
    return work("rename", deployment, run_id, move_ids)
