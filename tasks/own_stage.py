"""The task of the operator's own stage."""

from __future__ import annotations

from app import resources
from app.celery_app import celery
from app.errors import RekeyError
from app.stages import own_stage as stage
from tasks.messages import known_run, stopped


@celery.task(name="own_stage", shared=False)  # type: ignore[untyped-decorator] # celery has no types
def own_stage(deployment: str, run_id: str, move_ids: list[int]) -> str:
    """Show switched assets to the operator's own function."""
    try:
        run = known_run(deployment, run_id)
        if run is None:
            return "ignored: not a run of this deployment"
        return stage.call_own_stage(run, move_ids, context=resources.context(run))
    except RekeyError as error:  # the ledger has them seen again
        return stopped("own", run_id, error)
