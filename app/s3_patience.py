"""A transport that sends a request again which the store has refused for now (503, 429): for commands, which have no ledger to wait in.

Such a request was not carried out. Workers have none of this: they give their batch back, and slow down.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

from app import backoff
from app.s3_client import SLOW_DOWNS
from app.s3_http import Answer, Transport

TRIES = 6  # three seconds at most, within the life of a signature
_JITTER = random.Random()  # noqa: S311 - spreads retries, keeps no secret


class PatientTransport:
    """Another transport, asked again."""

    def __init__(self, transport: Transport, *, wait: Callable[[float], object] = time.sleep) -> None:
        self._transport = transport
        self._wait = wait
        self.host = transport.host

    def send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        timeout: float,
        max_body: int | None = None,
        admit: Callable[[int], None] | None = None,
    ) -> Answer:
        """The answer, or the last refusal."""
        for attempt in range(1, TRIES):
            answer = self._transport.send(method, target, headers, body, timeout=timeout, max_body=max_body, admit=admit)
            if answer.status not in SLOW_DOWNS:
                return answer
            self._wait(backoff.delay(attempt, base=0.1, cap=1.0, jitter=_JITTER))
        return self._transport.send(method, target, headers, body, timeout=timeout, max_body=max_body, admit=admit)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()
