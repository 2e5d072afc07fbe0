"""The seed task."""

from __future__ import annotations

from app import resources
from app.celery_app import celery
from app.errors import RekeyError
from app.pipeline import BY_NAME, SEED
from app.stages import seed_moves as stage
from app.throttling import rests_at_once
from tasks.messages import enqueue, enqueue_seed, known_run, stopped


@celery.task(name="seed_moves", shared=False)  # type: ignore[untyped-decorator] # celery has no types
def seed_moves(deployment: str, run_id: str) -> str:
    """Plan the next page of rows, hand them to the copy stage, go on with the page after it."""
    try:
        run = known_run(deployment, run_id)
        if run is None:
            return "ignored: not a run of this deployment"
        context = resources.context(run)
        why = rests_at_once(run, context)
        if why is not None:
            return f"paused: {why}"
        seeded = stage.seed_moves(run, context=context)
    except RekeyError as error:  # the reconciler starts the seed again
        return stopped("seed", run_id, error)
    for batch in seeded.batches:
        enqueue(run, BY_NAME[SEED.next or ""], batch)
    if seeded.more:
        enqueue_seed(run)
    return seeded.summary
