"""A transport that sends a request again which the store has refused for now (503, 429): it was not carried out.

Within the time that the request has, and under the signature that it has, so that it ends at the store when it would have (S7). A batch
asks for dozens of objects: where each request is refused once in a while, a batch that gave up at the first refusal would never end.
A thread that is to send its requests some way apart (app.spacing) waits here too, out of the same time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from app import backoff, spacing
from app.s3_client import MIN_WRITE_SECONDS, SLOW_DOWNS
from app.s3_http import Answer, Begun, Transport

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

    def prepare(self, wanted: int, *, timeout: float) -> int:
        """As the other transport."""
        return self._transport.prepare(wanted, timeout=timeout)

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
        end = self._now() + timeout
        self._space(timeout)

        def ask(left: float) -> Answer:
            return self._transport.send(method, target, headers, body, timeout=left, max_body=max_body, admit=admit)

        return self._ask(ask, ask, end=end)

    def begin(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"", *, timeout: float) -> Begun:
        """Send a request whose answer is taken later; what it waits before that is out of its time."""
        end = self._now() + timeout
        self._space(timeout)
        begun = self._transport.begin(method, target, headers, body, timeout=end - self._now())

        def answer(timeout: float, max_body: int | None, admit: Callable[[int], None] | None) -> Answer:
            def ask(left: float) -> Answer:
                return self._transport.send(method, target, headers, body, timeout=left, max_body=max_body, admit=admit)

            first = partial(begun.answer, max_body=max_body, admit=admit)
            return self._ask(lambda left: first(timeout=left), ask, end=self._now() + timeout)

        return _Begun(begun, answer)

    def _space(self, timeout: float) -> None:
        wait = spacing.until_next(self._now(), most=timeout - MIN_WRITE_SECONDS)
        if wait > 0:
            self._wait(wait)

    def _ask(self, first: Callable[[float], Answer], again: Callable[[float], Answer], *, end: float) -> Answer:
        ask, attempt = first, 1
        timeout = end - self._now()
        while True:
            answer = ask(timeout)
            if answer.status not in SLOW_DOWNS or attempt == self._tries:
                return answer
            pause = backoff.delay(attempt, base=0.1, cap=1.0, jitter=_JITTER)
            timeout = end - self._now() - pause
            if timeout < MIN_WRITE_SECONDS:
                return answer
            self.refused(answer)
            self._wait(pause)
            ask, attempt = again, attempt + 1

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


@dataclass(frozen=True, slots=True)
class _Begun:
    """A request that was begun; its answer, if that is a refusal, is asked for again."""

    begun: Begun
    ask: Callable[[float, int | None, Callable[[int], None] | None], Answer]

    @property
    def sent_at(self) -> float:
        """By the boot clock."""
        return self.begun.sent_at

    def answer(self, *, timeout: float, max_body: int | None = None, admit: Callable[[int], None] | None = None) -> Answer:
        """The answer, or the last refusal."""
        return self.ask(timeout, max_body, admit)

    def drop(self) -> None:
        """Have no answer."""
        self.begun.drop()
