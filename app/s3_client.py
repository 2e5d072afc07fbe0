"""Signed requests to one bucket: reads signed in the header, writes in the query with an end that the store keeps (S7, M2).

Everything is dated by the store's own clock, learned from its answers; a worker whose clock is hours off works like any other (CASES 20).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import BadKeyError, LeaseLostError, RekeyError, StoreUnavailableError, UnansweredError, UnreachableError
from app.gauge import Gauge
from app.s3_clock import StoreClock
from app.s3_errors import answer_error
from app.s3_signing import Credentials, Signer
from app.s3_text import encode_key, encode_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.clock import Clock
    from app.object_store import Deadline
    from app.s3_http import Answer, Begun, Transport

MAX_SKEW_SECONDS = 900  # S3 refuses header-signed requests that are further off
SLOW_DOWNS = frozenset({429, 503})
MIN_WRITE_SECONDS = 1  # X-Amz-Expires is in whole seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole answer to a signed request, with what is needed to tell an expired signature from a denial."""

    answer: Answer
    date: int | None  # the answer's own Date, UTC seconds
    expires_at: int | None  # the end of the signature (writes)

    @property
    def etag(self) -> str:
        """The ETag in its headers; empty where there is none."""
        return self.answer.headers.get("etag", "").strip('"')

    def error(self, key: str) -> RekeyError:
        """What the answer says if it is no success."""
        error = answer_error(self.answer, key, expires_at=self.expires_at, now=self.date)
        return _of_read(error) if self.expires_at is None and isinstance(error, UnansweredError) else error


@dataclass(frozen=True, slots=True)
class BegunRead:
    """A read that was sent, and the date that it was signed with."""

    request: Begun
    date: int


@dataclass(frozen=True, slots=True)
class BegunWrite:
    """A write that was sent."""

    request: Begun
    expires_at: int  # the end of its signature, UTC seconds
    seconds: float  # that its whole answer may take


class S3Client:
    """Sends signed requests about one bucket (path-style) over a transport; counts no error as success, repeats nothing."""

    def __init__(
        self,
        transport: Transport,
        *,
        bucket: str,
        region: str,
        request_timeout: float,
        clock: Clock,
        credentials: Callable[[], Credentials],
    ) -> None:
        self._transport = transport
        self._signer = Signer(host=transport.host, region=region)
        self._root = f"/{bucket}"
        self._timeout = request_timeout
        self._clock = clock
        self._store_clock = StoreClock()
        self._credentials = credentials
        self.gauge = Gauge()

    def store_time(self) -> float:
        """UTC seconds by the store's clock, never ahead of it; an unsigned request learns it where no answer has come yet."""
        now = self._store_clock.at(self._clock.boot())
        if now is None:
            self._observe(self._transport.send("HEAD", self._root, {}, timeout=self._timeout), None)
            now = self._store_clock.at(self._clock.boot())
        if now is None:
            raise StoreUnavailableError("the store's answer has no Date")
        return now

    def read(
        self,
        method: str,
        key: str | None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        max_body: int | None = None,
        admit: Callable[[int], None] | None = None,
    ) -> Reply:
        """Send a request that changes nothing; *key* is None for the bucket itself."""
        date = int(self.store_time())
        target, signed = self._signed_read(method, key, query, headers, date)
        return self._read(lambda: self._transport.send(method, target, signed, timeout=self._timeout, max_body=max_body, admit=admit), date)

    def prepare(self, wanted: int) -> int:
        """See that there are *wanted* connections for requests that are begun together; gives how many there are.

        Raises StoreUnavailableError if there is none.
        """
        return self._transport.prepare(wanted, timeout=self._timeout)

    def begin(self, method: str, key: str | None, query: Mapping[str, str] | None, headers: Mapping[str, str]) -> BegunRead:
        """Send a read whose answer is taken later, or never."""
        date = int(self.store_time())
        target, signed = self._signed_read(method, key, query, headers, date)
        try:
            return BegunRead(self._transport.begin(method, target, signed, timeout=self._timeout), date)
        except UnansweredError as error:
            raise _of_read(error) from error

    def take(self, begun: BegunRead, *, max_body: int | None = None, admit: Callable[[int], None] | None = None) -> Reply:
        """The answer to that."""
        return self._read(lambda: begun.request.answer(timeout=self._timeout, max_body=max_body, admit=admit), begun.date)

    def _signed_read(
        self, method: str, key: str | None, query: Mapping[str, str] | None, headers: Mapping[str, str] | None, date: int
    ) -> tuple[str, Mapping[str, str]]:
        path = self.path(key)
        canonical = "&".join(sorted([f"{name}={encode_value(value)}" for name, value in query.items()])) if query else ""
        signed = self._signer.in_headers(method, path, canonical, headers or {}, who=self._credentials(), date=date)
        return f"{path}?{canonical}" if canonical else path, signed

    def _read(self, ask: Callable[[], Answer], date: int) -> Reply:
        try:
            answer = ask()
        except UnansweredError as error:
            raise _of_read(error) from error
        reply = self._observe(answer, None)
        if reply.answer.status == 403 and reply.date is not None and abs(reply.date - date) > MAX_SKEW_SECONDS:  # noqa: PLR2004
            self._store_clock.forget()
            raise StoreUnavailableError("the store's clock was set: the request was dated wrongly and refused")
        return reply

    def unsigned(self, method: str, key: str) -> Reply:
        """Send a request as somebody without credentials does; it must be one that changes nothing."""
        try:
            return self._observe(self._transport.send(method, self.path(key), {}, timeout=self._timeout), None)
        except UnansweredError as error:
            raise _of_read(error) from error

    def write(
        self,
        method: str,
        key: str | None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        body: bytes = b"",
        deadline: Deadline | None,
        signed_ago: int = 0,
    ) -> Reply:
        """Send a request that the store refuses once the deadline has passed, or the request time-out (from *signed_ago* seconds back).

        No deadline means that the request may come as late as the time-out allows.
        """
        sent = headers or {}
        target, expires_at, seconds = self._signed_write(method, key, query, sent, deadline=deadline, signed_ago=signed_ago)
        return self._observe(self._transport.send(method, target, sent, body, timeout=seconds), expires_at)

    def begin_write(self, method: str, key: str, headers: Mapping[str, str], *, body: bytes = b"", deadline: Deadline) -> BegunWrite:
        """Send such a request, whose answer is taken later."""
        target, expires_at, seconds = self._signed_write(method, key, None, headers, deadline=deadline)
        return BegunWrite(self._transport.begin(method, target, headers, body, timeout=seconds), expires_at, seconds)

    def take_write(self, begun: BegunWrite) -> Reply:
        """The answer to that: within the time that it has, and what has come by then is read in any case."""
        left = begun.request.sent_at + begun.seconds - self._clock.boot()
        return self._observe(begun.request.answer(timeout=max(left, MIN_WRITE_SECONDS)), begun.expires_at)

    def _signed_write(
        self,
        method: str,
        key: str | None,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str],
        *,
        deadline: Deadline | None,
        signed_ago: int = 0,
    ) -> tuple[str, int, float]:
        """The target to send, the UTC second in which the signature ends, and the seconds that the answer may take."""
        date = int(self.store_time()) - signed_ago
        seconds = self._timeout if deadline is None else min(self._timeout, deadline.remaining())
        if seconds < MIN_WRITE_SECONDS:
            raise LeaseLostError("the lease ends before the request could be carried out")
        expires = math.floor(seconds)
        pairs = [(name, encode_value(value)) for name, value in query.items()] if query else []
        target = self._signer.in_query(method, self.path(key), pairs, headers, who=self._credentials(), date=date, expires=expires)
        return target, date + expires, seconds

    def head_error(self, reply: Reply, key: str) -> RekeyError:
        """What a failed HEAD means: it has no body, and a 400 may be SSE-C, an expired token or a bad key; one byte's GET says which."""
        if reply.answer.status != 400 or "x-minio-error-code" in reply.answer.headers:  # noqa: PLR2004
            return reply.error(key)
        asked = self.read("GET", key, headers={"range": "bytes=0-0"})
        return asked.error(key) if asked.answer.status >= 400 else reply.error(key)  # noqa: PLR2004

    def path(self, key: str | None) -> str:
        """The object's path on the endpoint, also the form that x-amz-copy-source takes."""
        if key is None:
            return self._root
        if not key.strip("/"):
            # Such a path may be the bucket's own, and a DELETE the bucket's end.
            raise BadKeyError(key, "the key is empty")
        try:
            return f"{self._root}/{encode_key(key)}"
        except UnicodeEncodeError as error:
            raise BadKeyError(key, "the key is not Unicode") from error

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _observe(self, answer: Answer, expires_at: int | None) -> Reply:
        self.gauge.add(seconds=answer.received_at - answer.sent_at, slow_down=answer.status in SLOW_DOWNS)
        date = None
        if "age" not in answer.headers and "date" in answer.headers:  # an answer from a cache has an old date
            date = self._store_clock.observe(answer.headers["date"], sent_at=answer.sent_at, received_at=answer.received_at)
        return Reply(answer=answer, date=date, expires_at=expires_at)


def _of_read(error: UnansweredError) -> UnreachableError:
    """A read that got no answer: whatever became of it, it has changed nothing, so that nobody need wait for it (S7)."""
    return UnreachableError(str(error))
