"""A transport that sends a request again which the store has refused for now (503, 429): it was not carried out.

Within the time that the request has, and under the signature that it has, so that it ends at the store when it would have (S7). A batch
asks for dozens of objects: where each request is refused once in a while, a batch that gave up at the first refusal would never end.
A thread that is to send its requests some way apart (app.spacing) waits here too, out of the same time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

from app import backoff, spacing
from app.s3_client import MIN_WRITE_SECONDS, SLOW_DOWNS
from app.s3_http import Answer, Transport

COMMAND_TRIES = 6  # some three seconds: a command has no ledger to wait in
WORKER_TRIES = 4  # less than a second: a worker gives the batch back then, and slows down
_JITTER = random.Random()  # noqa: S311 - spreads retries, keeps no secret


class PatientTransport:
    """Another transport, asked again; ``refused`` is called for each refusal that is not the answer."""

    def __init__(
        self, transport: Transport, *, tries: int, wait: Callable[[float], object] = time.sleep, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.host = transport.host
        self.refused: Callable[[Answer], None] = lambda _answer: None
        self._transport = transport
        self._tries = tries
        self._wait = wait
        self._now = now

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
        now = self._now()
        end, attempt = now + timeout, 1
        wait = spacing.until_next(now, most=timeout - MIN_WRITE_SECONDS)
        if wait > 0:
            self._wait(wait)
            timeout = end - self._now()
        while True:
            answer = self._transport.send(method, target, headers, body, timeout=timeout, max_body=max_body, admit=admit)
            if answer.status not in SLOW_DOWNS or attempt == self._tries:
                return answer
            pause = backoff.delay(attempt, base=0.1, cap=1.0, jitter=_JITTER)
            timeout = end - self._now() - pause
            if timeout < MIN_WRITE_SECONDS:
                return answer
            self.refused(answer)
            self._wait(pause)
            attempt += 1

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()
