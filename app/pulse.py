"""When a worker of each queue was last seen to consume, on the broker: one key a queue, however many workers there are.

The key is made to live for a day, so that what is left of that tells its age by the broker's own clock: machines whose clocks differ do not
matter. It outlives its worker, unlike what a worker could be asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis

KEPT_SECONDS = 86_400  # without a worker for so long nothing is known of it any more


def beat(client: Any, queues: Iterable[str]) -> None:  # noqa: ANN401 - kombu's, which puts its prefix before each key
    """Note that *queues* are consumed now. Raises what redis-py raises."""
    for queue in queues:
        client.set(_key(queue), "", ex=KEPT_SECONDS)


def ages(client: redis.Redis, queues: Iterable[str], *, prefix: str) -> dict[str, float]:
    """For how many seconds no worker of each queue was seen to consume; a queue of which nothing is known is left out."""
    left = {queue: int(client.pttl(f"{prefix}{_key(queue)}")) for queue in queues}
    return {queue: KEPT_SECONDS - milliseconds / 1000 for queue, milliseconds in left.items() if milliseconds >= 0}


def _key(queue: str) -> str:
    return f"pulse.{queue}"
