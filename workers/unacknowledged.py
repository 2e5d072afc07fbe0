"""Messages in hand: how many a worker takes, and what becomes of them when the connection to the broker is lost.

A stage's concurrency is how many requests its tasks have under way; some tasks have ten (app.stages.ahead), so that a worker with a slot
for each would hold ten times the messages that it works on, and one that comes later would find none.

When the connection is lost, the worker lives on, and the visibility timeout brings its messages back.
kombu 5.7 raises an AttributeError where such a message is put back or acknowledged over the connection that was given up, and Celery takes
that for unrecoverable: a restart of Redis ended each worker that had work in hand and a request for the next message under way.
"""

from __future__ import annotations

import logging
from typing import Any

from kombu.transport import redis
from redis.exceptions import ConnectionError, TimeoutError  # noqa: A004 - redis' own

from app.resources import waiting_tasks

MOST_WAITING = 16  # tasks: enough for all places until the event loop comes round again

_log = logging.getLogger(__name__)


class QoS(redis.QoS):
    """kombu's record of the messages in hand."""

    def can_consume(self) -> bool:
        """Whether there is a slot for another message, and not a line of tasks that wait for a place already.

        A worker of several queues takes it all the same: the line may be one stage's, and the message another's.
        """
        lone = len(self.channel.active_queues) == 1
        return not (lone and waiting_tasks() >= MOST_WAITING) and super().can_consume()  # type: ignore[no-untyped-call]

    @property
    def is_lost(self) -> bool:
        """Whether the connection was given up; another has taken its place by now, or will."""
        transport = self.channel.connection
        return transport is None or transport.client is None

    def restore_unacked(self, client: Any = None) -> None:  # noqa: ANN401 - kombu's own signature
        """Put all into their queues again, as at a stop."""
        if self.is_lost:
            self._delivered.clear()
        else:
            super().restore_unacked(client)  # type: ignore[no-untyped-call] # kombu's types are not complete

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge one; over a lost connection nobody hears it, and the ledger knows what was done when the message comes again."""
        if self.is_lost:
            return
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]
        except (ConnectionError, TimeoutError) as error:  # Celery would write a traceback for each task that ends now
            _log.warning("the broker did not hear that a message was done: %s", error, extra={"action": "broker_warning"})

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's own signature
        """Put one back."""
        if not self.is_lost:
            super().reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]


redis.Channel.QoS = QoS
