"""What the tasks have in common: whose message it is, and how the next stage's is sent.

A message is a hint (S6): one of a run that this ledger does not know is acknowledged and dropped, since the ledger that it belongs to will
hint again. One of another deployment, which shares our broker and prefix, is put back for that one's workers, a bounded number of times:
else each would throw away half of the other's messages, and both would wait for their hints, which double (case 44).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress

from celery import current_task
from kombu.exceptions import ChannelError, OperationalError
from sqlalchemy.exc import DBAPIError

from app import resources
from app.celery_app import PUBLISH_SECONDS, RECONCILE_TASK, celery, send
from app.database import brief
from app.errors import BrokerUnavailableError, DatabaseUnavailableError, RekeyError
from app.ledger.records import Run
from app.pipeline import BY_NAME, OWN, SEED, STAGES, MoveStage
from app.redaction import redact
from app.stages.runner import run_stage
from app.stopping import stopping
from tasks.hand_over import HandOver

LEDGER_PATIENCE_SECONDS = 20.0
LEDGER_PAUSE_SECONDS = 1.0
PASSES = 10  # of a message that is another deployment's; then that is gone, or has few workers
PASSED = "passed_on"  # a header of the message

log = logging.getLogger(__name__)


def known_run(deployment: str, run_id: str) -> Run | None:
    """The run that a message is for, if it is one of ours.

    An outage of the ledger is waited out for a while: a message that is given up is hinted again only after HINT_SECONDS, and without
    the wait a short outage would use up all that are queued.
    """
    end = time.monotonic() + min(LEDGER_PATIENCE_SECONDS, resources.settings().visibility_timeout_seconds / 2)
    while True:
        try:
            run = resources.runs().find(run_id) if deployment == resources.deployment() else None
            break
        except DatabaseUnavailableError:
            if time.monotonic() > end or stopping.wait(LEDGER_PAUSE_SECONDS):
                raise
    if run is None and not (deployment != resources.deployment() and _pass_on()):
        log.warning("dropped a message of another deployment or run %s", run_id[:8], extra={"action": "batch_refused"})
    return run


def _pass_on() -> bool:
    """Put the message that is being worked on back on its queue; False where it has come round too often, or the broker takes nothing."""
    request = current_task.request
    passed = int((request.headers or {}).get(PASSED, 0))
    if passed >= PASSES:
        return False
    try:
        send(celery.tasks[current_task.name], *request.args, headers={PASSED: passed + 1})
    except BrokerUnavailableError:
        return False
    return True


def check_broker() -> None:
    """Raise BrokerUnavailableError unless the broker answers now."""
    try:
        with celery.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.2, timeout=PUBLISH_SECONDS)
    except (OperationalError, OSError) as error:
        raise BrokerUnavailableError(f"the broker (REKEY_BROKER_URL) does not answer: {error}") from error


def enqueue(run: Run, stage: MoveStage, ids: Sequence[int]) -> bool:
    """Send *ids* to *stage* after the ledger's commit; if the broker takes nothing, the ledger has them due at once.

    Returns:
        Whether the broker took the message.
    """
    try:
        send(celery.tasks[stage.task], resources.deployment(), run.id, list(ids))
    except BrokerUnavailableError as error:
        log.warning("%s", error, extra={"action": "broker_warning", "run_id": run.id})
        with suppress(DatabaseUnavailableError):  # both are away: due again when the hint has lapsed
            resources.moves().unhint(run, ids)
        return False
    return True


def enqueue_seed(run: Run) -> None:
    """Send the seed of *run*; lost, it is sent again by the reconciler."""
    try:
        send(celery.tasks[SEED.task], resources.deployment(), run.id)
    except BrokerUnavailableError as error:
        log.warning("%s", error, extra={"action": "broker_warning", "run_id": run.id})


def enqueue_visit(run: Run, ids: Sequence[int]) -> None:
    """Send *ids* to the operator's own stage; lost, they are sent again by the reconciler."""
    try:
        send(celery.tasks[OWN.task], resources.deployment(), run.id, list(ids))
    except BrokerUnavailableError as error:
        log.warning("%s", error, extra={"action": "broker_warning", "run_id": run.id})


def queue_depth() -> int:
    """How many messages lie in the queues; 0 where the broker does not say, which is slowed down by its silence already."""
    try:
        with celery.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.2, timeout=PUBLISH_SECONDS)
            return sum(int(connection.default_channel._size(stage.queue)) for stage in STAGES)  # noqa: SLF001 - of kombu's virtual channels
    except (OperationalError, OSError, ChannelError):
        return 0


def send_for_reconciler() -> None:
    """Let a reconciler come now and not at its next tick, if the broker is there."""
    with suppress(BrokerUnavailableError):
        send(celery.tasks[RECONCILE_TASK])


def work(name: str, deployment: str, run_id: str, move_ids: Sequence[int]) -> str:
    """One message's work for the stage *name*: do it, hand over what is done, send again what is not."""
    try:
        run = known_run(deployment, run_id)
    except RekeyError as error:  # the ledger does not answer; it has the moves due again
        return stopped(name, run_id, error)
    if run is None:
        return "ignored: not a run of this deployment"
    stage = BY_NAME[name]
    with _hand_over.working():
        try:
            context = resources.context(run)
            result = run_stage(name, stage.work, run, move_ids, context=context)
        except RekeyError as error:  # the leases are back or end by themselves; the reconciler sends the moves again
            return stopped(name, run.id, error)
        if result.ready and stage.next:
            then = BY_NAME[stage.next]
            _hand_over.add(run, then, result.ready, size=then.message_size(context.settings.batch_size, rows=run.rows_estimate))
    if result.again:
        enqueue(run, stage, result.again)
    return result.summary()


def in_words(error: Exception) -> str:
    """An error on one line; one that is not ours with its class, as `rekey` says it."""
    if isinstance(error, RekeyError):
        return str(error)
    if isinstance(error, DBAPIError):
        return redact(f"the database refuses: {brief(error)}")
    return redact(" ".join(f"unexpected {type(error).__name__}: {error}".split()))


def stopped(what: str, run_id: str, error: Exception) -> str:
    """Log why a task could not do its work, and give the words for Flower; the ledger has it done again."""
    why = in_words(error)
    log.warning("%s of run %s stopped: %s", what, run_id[:8], why, extra={"action": "batch_released", "run_id": run_id})
    return f"stopped: {why}"


_hand_over = HandOver(enqueue)
