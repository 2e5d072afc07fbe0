"""Messages in hand when the connection to the broker is lost: the worker lives on, and the visibility timeout brings them back.

kombu 5.7 raises an AttributeError where such a message is put back or acknowledged over the connection that was given up, and Celery takes
that for unrecoverable: a restart of Redis ended each worker that had work in hand and a request for the next message under way.
"""

from __future__ import annotations

import logging
from typing import Any

from kombu.transport import redis
from redis.exceptions import ConnectionError, TimeoutError  # noqa: A004 - redis' own

_log = logging.getLogger(__name__)


class QoS(redis.QoS):
    """kombu's record of the messages in hand."""

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
