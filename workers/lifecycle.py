"""What happens around a worker's tasks: its profile at the start, its heartbeat, a stop that ends in time, its resources at the end.

Celery imports this module by name (app/celery_app.py, "include"), so a plain ``celery -A app worker -Q copy`` behaves the same.
"""

from __future__ import annotations

import logging
import sys
import time
from contextlib import suppress
from typing import Any

import click
from billiard.exceptions import RestartFreqExceeded  # type: ignore[import-untyped] # Celery brings it
from celery import bootsteps, signals
from celery.utils.nodenames import gethostname, nodename
from click.core import ParameterSource
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from app import logs, minio_store, pulse, resources  # noqa: F401 - minio is there before the first task, which would wait for it
from app.celery_app import celery
from app.doctor.broker import eviction
from app.errors import RekeyError
from workers import broker_clients, memory, profiles, stop, unacknowledged  # noqa: F401 - they connect and replace by themselves
from workers.batch_log import name_batch
from workers.health import HEARTBEAT_SECONDS, Heartbeat, sweep

_log = logging.getLogger(__name__)

_OUTAGES = (RedisError, OSError, OperationalError, RestartFreqExceeded)
FIRST_SECONDS = 0.5
PULSE_BEATS = 5  # of the machine's heartbeats, one goes to the broker too, for `rekey metrics`
CONSUME_SECONDS = 10.0  # a BRPOP is answered within a second; one that is this old is on a broken connection


def _is_given(option: str) -> bool:
    """Whether the user gave this option of ``celery worker`` (or its environment variable), so that the profile yields."""
    context = click.get_current_context(silent=True)
    return context is None or context.get_parameter_source(option) not in {ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP}


def name_node(instance: Any, options: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - Celery's objects
    """Refuse unknown queues in one line; name the node after its queues, so that Flower tells the workers of one machine apart."""
    queues = options.get("queues") or []
    unknown = sorted(set(queues) - set(profiles.QUEUES))
    if unknown:
        sys.stderr.write(f"rekey: no such queue: {', '.join(unknown)}; there are {', '.join(profiles.QUEUES)}\n")
        raise SystemExit(2)
    if not _is_given("hostname"):
        instance.hostname = nodename(profiles.shared(queues, resources.settings()).name if queues else "rekey", gethostname())


def apply_profile(sender: Any, **_: Any) -> None:  # noqa: ANN401 - Celery's object
    """Give the worker its stage's pool and concurrency, unless ``-P`` or ``-c`` said otherwise.

    By now Celery has filled in its own defaults (prefork, the number of processors) and not yet built the pool: the one moment at which
    both are still open and the selected queues are known. With ``worker_pool`` in the configuration ``-P prefork`` would be ignored.
    """
    memory.return_large_blocks()
    memory.collect_less_often()
    profile = profiles.shared(tuple(sender.app.amqp.queues.consume_from), resources.settings())
    if not _is_given("pool") and not _is_given("autoscale"):
        sender.pool_cls = profile.pool
    pool = sender.pool_cls if isinstance(sender.pool_cls, str) else sender.pool_cls.__module__.rpartition(".")[2]
    if not _is_given("concurrency") and pool not in profiles.HEAVY_POOLS:
        sender.concurrency = profile.concurrency
    if not _is_given("prefetch_multiplier"):
        sender.prefetch_multiplier = profile.prefetch_multiplier
    resources.configure(concurrency=sender.concurrency if isinstance(sender.concurrency, int) else None)
    with suppress(RekeyError):  # the first task says it
        resources.engine()  # loads the driver, which a hundred first tasks would wait for; connects to nothing yet


def format_logs(logger: logging.Logger, **_: Any) -> None:  # noqa: ANN401 - Celery's objects
    """Write Celery's records (worker, beat) as ours: text or JSON, without secrets. ``-l`` and ``-f`` stay Celery's."""
    settings = celery.loader.settings
    for handler in logger.handlers:
        handler.setFormatter(logs.formatter(settings.log_format, secrets=settings.secrets))
        handler.addFilter(_drop_data)
        handler.addFilter(_shorten_outage)
        handler.addFilter(name_batch)


def _drop_data(record: logging.LogRecord) -> bool:
    """Celery repeats each message, traceback included, in an extra of its own."""
    vars(record).pop("data", None)
    return True


def _shorten_outage(record: logging.LogRecord) -> bool:
    """One line for what kombu and Celery's consumer live through, where a full, silent or absent broker is all that there is to say.

    They write a traceback each time one of their timers fails, a message cannot be acknowledged, a loop is cleaned up over a lost
    connection, or connections break often. What ends a worker, or a task, is logged by others of Celery's, and keeps its traceback.
    """
    if record.name.startswith(("kombu", "celery.worker.")) and record.exc_info and isinstance(record.exc_info[1], _OUTAGES):
        record.msg, record.args = f"{record.getMessage()}: {record.exc_info[1]}", ()
        record.exc_info = record.exc_text = None
    return True


def log_start(sender: Any, **_: Any) -> None:  # noqa: ANN401 - Celery's object
    """Say what this worker does, once it consumes."""
    worker = sender.controller
    queues = ", ".join(worker.app.amqp.queues.consume_from)
    _log.info("worker %s consumes %s, %d tasks at once", worker.hostname, queues, worker.concurrency, extra={"action": "worker_started"})
    policy = eviction(resources.settings())
    if policy is not None:
        _log.warning(
            "the broker's maxmemory-policy is %s: when its memory is full it throws messages away, which are sent again only after "
            "REKEY_HINT_SECONDS; CONFIG SET maxmemory-policy noeviction",
            policy,
            extra={"action": "broker_evicts"},
        )


def close_resources(**_: Any) -> None:  # noqa: ANN401 - Celery's objects
    """Close this process's connections after its last task."""
    resources.close()
    _log.info("worker stopped", extra={"action": "worker_stopped"})


class HeartbeatStep(bootsteps.StartStopStep):  # type: ignore[misc] # celery has no types
    """Beats from the consumer's own event loop, and only while that gets answers from the broker."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Celery's own signature
        super().__init__(consumer, **kwargs)
        sweep()
        settings = resources.settings()
        self._queues = profiles.shared(tuple(consumer.app.amqp.queues.consume_from), settings).queues
        self._heartbeat = Heartbeat("+".join(self._queues))
        self._beats = 0
        self._patience_seconds = settings.visibility_timeout_seconds
        self._timer: Any = None

    def start(self, consumer: Any) -> None:  # noqa: ANN401 - Celery's own signature
        """Begin to beat where there is no event loop (gevent, eventlet)."""
        if consumer.hub is None:
            self._repeat(consumer.timer, consumer)

    def register_with_event_loop(self, consumer: Any, hub: Any) -> None:  # noqa: ANN401 - Celery's own signature
        """Begin to beat; Celery cancels the timer when it loses its connection, and comes here again when it has a new one."""
        self._repeat(hub.timer, consumer)

    def shutdown(self, consumer: Any) -> None:  # noqa: ANN401, ARG002 - Celery's own signature
        """Leave no heartbeat behind."""
        self._heartbeat.end()

    def _repeat(self, timer: Any, consumer: Any) -> None:  # noqa: ANN401 - Celery's objects
        if self._timer is not None:
            self._timer.cancel()
        self._timer = timer.call_repeatedly(HEARTBEAT_SECONDS, self._beat, (consumer,))
        # Soon after the start too, but not at once: a connection that takes no request for messages breaks before this.
        timer.call_after(FIRST_SECONDS, self._beat, (consumer,))

    def _beat(self, consumer: Any) -> None:  # noqa: ANN401 - Celery's object
        if not _is_consuming(consumer, patience_seconds=self._patience_seconds):
            return
        self._heartbeat.beat()
        if self._beats % PULSE_BEATS == 0:
            # Not over the channel's own connection, on which a BRPOP waits for its answer. That a broker is away is said by others.
            with suppress(*_OUTAGES), consumer.task_consumer.channel.conn_or_acquire() as client:
                pulse.beat(client, self._queues)
        self._beats += 1


def _is_consuming(consumer: Any, *, patience_seconds: float) -> bool:  # noqa: ANN401 - Celery's object
    """Whether messages would be taken: a queue is consumed, and the last request for one is not overdue.

    A worker whose slots are all taken asks for nothing; that is no finding until a whole visibility timeout has passed without a slot
    coming free, since its messages then go to others.
    """
    channel = consumer.task_consumer.channel if consumer.task_consumer else None
    if channel is None or not getattr(channel, "active_queues", True):
        return False
    asked = getattr(channel, "_brpop_sent_at", None)  # kombu's own clock for its check of half-open connections
    if asked is None:
        return True
    limit = CONSUME_SECONDS if channel.qos.can_consume() else patience_seconds
    return bool(time.monotonic() - asked < limit)


signals.celeryd_init.connect(name_node)
signals.worker_init.connect(apply_profile)
signals.after_setup_logger.connect(format_logs)
signals.after_setup_task_logger.connect(format_logs)
signals.worker_ready.connect(log_start)
signals.worker_shutdown.connect(close_resources)
celery.steps["consumer"].add(HeartbeatStep)
