"""Reads ledger, broker and workers for Prometheus: at most once in some seconds, in a bounded time, and whatever does not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import redis
from kombu.exceptions import OperationalError
from prometheus_client import Metric
from prometheus_client.registry import Collector

from app import pulse, resources
from app.celery_app import celery
from app.database import MICROSECONDS
from app.doctor.broker import connect
from app.errors import DatabaseUnavailableError
from app.metrics.families import Broker, Reading, families
from app.pipeline import QUEUED, STAGES
from app.report import snapshot

if TYPE_CHECKING:
    from app.ledger.records import Run
    from app.settings import Settings

FRESH_SECONDS = 5.0  # two Prometheus servers, or a curious person, cost no more than one
ANSWER_SECONDS = 1.0  # for which workers may take to say what they consume


class RunCollector(Collector):
    """The families of a fresh reading; safe for threads."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        """Nothing is read yet."""
        self._read = read
        self._lock = threading.Lock()
        self._known: Reading | None = None
        self._read_at = 0.0

    def collect(self) -> Iterable[Metric]:
        """What a scrape is told."""
        with self._lock:
            if self._known is None or time.monotonic() - self._read_at > FRESH_SECONDS:
                self._known = self._read()
                self._read_at = time.monotonic()
            return list(families(self._known))


def read(settings: Settings) -> Reading:
    """How everything is now."""
    seen, run = _read_ledger(settings)
    queues = _queues_of(run)
    broker = _read_broker(settings, queues)
    # Without a broker nobody can be asked, and trying would take longer than Prometheus waits (10 s).
    return replace(seen, broker=broker, workers=None if broker is None else _consumers(queues))


def _read_ledger(settings: Settings) -> tuple[Reading, Run | None]:
    try:
        run = resources.runs().newest(settings.s3_bucket, settings.table)
        return (Reading(database=True) if run is None else _read_run(run)), run
    except DatabaseUnavailableError:
        return Reading(database=False), None


def _queues_of(run: Run | None) -> tuple[str, ...]:
    """Those that a run needs a worker for: of the operator's own stage only where it has one, else nobody would be missed there."""
    own = run is not None and run.settings.get("after_switch")
    return tuple(dict.fromkeys(stage.queue for stage in (QUEUED if own else STAGES)))


def _read_run(run: Run) -> Reading:
    runs, queues = resources.runs(), resources.queues()
    report = snapshot(run, runs=runs, queues=queues)
    age = (runs.now() - run.tick_at) / MICROSECONDS if run.is_live and run.tick_at else None
    return Reading(database=True, report=report, tick_age=age, tallied=resources.throttles().tallied(run))


def _read_broker(settings: Settings, queues: Sequence[str]) -> Broker | None:
    client = connect(settings.broker_url.get_secret_value())
    try:
        info: Mapping[str, Any] = client.info()
        prefix = settings.queue_prefix
        return Broker(
            waiting={queue: int(client.llen(f"{prefix}{queue}")) for queue in queues},
            in_hand=int(client.hlen(f"{prefix}unacked")),
            memory=int(info.get("used_memory", 0)),
            memory_limit=int(info.get("maxmemory", 0)),
            evicted=int(info.get("evicted_keys", 0)),
            heartbeats=pulse.ages(client, queues, prefix=prefix),
        )
    except (redis.RedisError, OSError):
        return None
    finally:
        client.close()


def _consumers(queues: Sequence[str]) -> Mapping[str, int] | None:
    try:
        answers = celery.control.inspect(timeout=ANSWER_SECONDS).active_queues() or {}
    except (OperationalError, redis.RedisError, OSError):
        return None
    found = dict.fromkeys(queues, 0)
    for consumed in answers.values():
        for queue in consumed:
            if queue["name"] in found:
                found[queue["name"]] += 1
    return found
