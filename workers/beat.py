"""The scheduler of ``celery beat``: in memory, bounded, and not to be stopped by the wall clock."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from celery import beat
from kombu.connection import Connection
from kombu.messaging import Producer

from app.celery_app import RECONCILE_QUEUE
from app.clock import BootClock
from workers.health import Heartbeat, sweep

# Ticks that wait were sent while nobody consumed them; one of them does what all would do. No expiry by time instead: a worker whose clock
# is ahead of beat's by more than that would discard each tick, and nothing would be reconciled any more (H16, H26).
MAX_WAITING = 10
_JUMP_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Scheduler(beat.Scheduler):  # type: ignore[misc] # celery has no types
    """Celery's scheduler without a schedule file."""

    def __init__(self, app: Any, *args: Any, lazy: bool = False, **kwargs: Any) -> None:  # noqa: ANN401 - Celery's own signature
        self._clock = BootClock()
        self._lead: float | None = None  # of the wall clock over the boot clock when last seen
        self._heartbeat: Heartbeat | None = None
        if not lazy:  # the one that is made for the banner only has no life
            sweep()
            self._heartbeat = Heartbeat("beat")
        super().__init__(app, *args, lazy=lazy, **kwargs)

    def tick(self, **kwargs: Any) -> float:  # noqa: ANN401 - Celery's own signature
        """Celery's tick, which waits by the wall clock: set back by two hours it would send nothing for two hours."""
        now = min((entry.default_now().timestamp() for entry in self.schedule.values()), default=0.0)
        lead = now - self._clock.boot()
        if self._lead is not None and lead < self._lead - _JUMP_SECONDS:
            _log.warning("the wall clock was set back by %.0f s: counting anew", self._lead - lead)
            for entry in self.schedule.values():
                entry.last_run_at = entry.default_now()
            self._heap = None
        self._lead = lead
        return float(super().tick(**kwargs))

    def apply_entry(self, entry: Any, producer: Producer | None = None) -> None:  # noqa: ANN401 - Celery's own signature
        """Publish a due task; while the broker is away that costs one line a tick, where Celery writes two tracebacks."""
        _log.info("Sending due task %s", entry.name)
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except Exception as error:  # noqa: BLE001 - as Celery does: whatever it was, the next tick tries again
            _log.warning("the broker took no message: %s", error, extra={"action": "broker_warning"})
            self._renew()

    def _renew(self) -> None:
        """Publish over another connection from now on.

        A channel whose connection broke while a message was on its way may be closed for good: kombu closes it before it connects again,
        and puts another in its place only when that succeeds at once. It then fails at its first use, before anything that would repair it.
        """
        with suppress(Exception):  # what it says no longer matters, and would end beat
            self.connection.collect()  # type: ignore[no-untyped-call] # kombu's types are not complete
        self.connection: Connection = self.app.connection_for_write()
        # Connects when it is used, within the bounds of a publish; Celery's own way of making one waits for the broker without an end.
        self.producer = self.Producer(self.connection, auto_declare=False)

    def apply_async(self, entry: Any, producer: Producer | None = None, advance: bool = True, **kwargs: Any) -> Any:  # noqa: ANN401, FBT001, FBT002 - Celery's own signature
        """Publish a due task, unless enough of its like wait already."""
        waiting = self._waiting(producer) if producer is not None else 0
        if waiting < MAX_WAITING:
            result = super().apply_async(entry, producer=producer, advance=advance, **kwargs)
        else:
            _log.warning("%d messages wait in the queue %s: is its worker running? Sending no more", waiting, RECONCILE_QUEUE)
            result = self.reserve(entry) if advance else None
        if self._heartbeat:
            self._heartbeat.beat()  # not after an error: a beat that cannot publish is not at work
        return result

    def _waiting(self, producer: Producer) -> int:
        queue = self.app.amqp.queues[RECONCILE_QUEUE]
        return int(queue.bind(producer.channel).queue_declare().message_count)

    def close(self) -> None:
        """Close as Celery does; a beat that was stopped leaves no heartbeat behind."""
        super().close()
        if self._heartbeat:
            self._heartbeat.end()
