"""One client of Redis for a channel's commands, where kombu makes a new one for each.

A client is nothing but a table of a hundred and fifty ways to read an answer, and a pool of connections, which all of a channel's clients
share anyway: making it took a third of what a message costs its sender (0.9 ms a message, 0.65 without; docs/benchmarks.md).
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis

_make: Any = redis.Channel._create_client  # noqa: SLF001 - as below
_KEPT = "_rekey_client"


def _create_client(channel: Any, asynchronous: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - kombu's own signature
    """The channel's client over its pool of today: a lost connection leaves that behind. Waiting for messages needs one of its own."""
    if asynchronous:
        return _make(channel, asynchronous=True)
    kept = vars(channel).get(_KEPT)
    if kept is None or kept.connection_pool is not channel.pool:
        kept = vars(channel)[_KEPT] = _make(channel)
    return kept


redis.Channel._create_client = _create_client  # type: ignore[method-assign] # noqa: SLF001 - there is no other place to replace it
