"""The road to one S3 endpoint: a request goes out once, its whole answer comes back in a bounded time, or an error says which it is.

``Transport`` is the seam; ``SocketTransport`` speaks HTTP/1.1 itself over kept connections. urllib3 and http.client cost 0.2 ms more a
request, re-send when told nothing else, rewrite paths with ``..``, and bound each read but not the whole answer (docs/decisions.md).
"""

from __future__ import annotations

import math
import os
import select
import socket
import ssl
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit
from weakref import finalize

import certifi

from app.errors import UnansweredError, UnreachableError, UsageError
from app.s3_wire import AnswerReader, BrokenAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.clock import Clock

# Servers close idle connections (MinIO after 30 s, load balancers earlier). A request that meets the closing is unanswered, and a write
# must then wait its lease out; a new connection is cheaper.
IDLE_SECONDS = 4.0
SEND_BYTES = 256 * 1024
OPENED_AT_ONCE = 32  # connections, in a thread each


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole HTTP answer; times are the boot clock's."""

    status: int
    headers: Mapping[str, str]  # lower-case names; latin-1, so that the bytes can be sent on
    body: bytes | None  # None: longer than was asked for
    sent_at: float
    received_at: float


class Transport(Protocol):
    """Sends one request, once."""

    @property
    def host(self) -> str:
        """The value of the Host header, which is signed."""

    def prepare(self, wanted: int, *, timeout: float) -> int:
        """See that *wanted* connections are open and free, within *timeout* seconds; gives how many of them are.

        Raises UnreachableError if none is.
        """

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
        """The whole answer within *timeout* seconds; *max_body* and *admit* as in ``AnswerReader.read``.

        Raises UnreachableError if the request cannot have arrived, UnansweredError if it may have.
        """

    def begin(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"", *, timeout: float) -> Begun:
        """Send a request whose answer is taken later, or, of a read, never. Raises as ``send``."""

    def close(self) -> None:
        """Close the connections that are kept."""


class Begun(Protocol):
    """A request that was sent and whose answer is still to be taken, once, or to be dropped."""

    @property
    def sent_at(self) -> float:
        """By the boot clock."""

    def answer(self, *, timeout: float, max_body: int | None = None, admit: Callable[[int], None] | None = None) -> Answer:
        """The whole answer within *timeout* seconds from now; otherwise as ``Transport.send``."""

    def drop(self) -> None:
        """Have no answer."""


class SocketTransport:
    """HTTP/1.1 over kept connections, one request at a time on each; safe for threads, and for children of a fork."""

    def __init__(self, endpoint: str, *, clock: Clock, keep: int, ca_file: str | None = None, whole: bool = True) -> None:
        """*whole*: as for ``AnswerReader``."""
        parts = urlsplit(endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
            raise UsageError("the S3 endpoint must be http://host[:port] or https://host[:port]")
        default = 443 if parts.scheme == "https" else 80
        self._address = (parts.hostname, parts.port or default)
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.host = name if self._address[1] == default else f"{name}:{self._address[1]}"
        self._tls = tls_context(ca_file) if parts.scheme == "https" else None
        self._clock = clock
        self._keep = max(keep, 1)
        self._whole = whole
        self._idle: list[tuple[socket.socket, float]] = []  # the last one given back goes out first; append and pop are atomic
        self._process = os.getpid()
        # The tasks of a run share a transport, and none knows whether it is the last to let go of it: what is idle then closes by itself.
        finalize(self, _close_all, self._idle).atexit = False

    def prepare(self, wanted: int, *, timeout: float) -> int:
        """Open what is lacking of *wanted* free connections, side by side: each takes a round trip or three."""
        self._leave_those_of_a_parent()
        now = self._clock.boot()
        free = sum(now - since < IDLE_SECONDS for _, since in list(self._idle))
        if free >= wanted:
            return wanted
        with ThreadPoolExecutor(min(wanted - free, OPENED_AT_ONCE)) as threads:
            opening = [threads.submit(self._connect, now + timeout) for _ in range(wanted - free)]
        failures = []
        for each in opening:
            failure = each.exception()
            if failure is None:
                self._give_back(each.result(), self._clock.boot())
            else:
                failures.append(failure)
        if len(failures) == wanted:
            raise failures[0]
        return wanted - len(failures)

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
        """The whole answer within *timeout* seconds."""
        return self._take(self._begin(method, target, headers, body, timeout=timeout), max_body, admit)

    def begin(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"", *, timeout: float) -> Begun:
        """Send a request whose answer is taken later: it waits in the connection's buffers, and in no memory of ours."""
        return self._begin(method, target, headers, body, timeout=timeout)

    def _begin(self, method: str, target: str, headers: Mapping[str, str], body: bytes, *, timeout: float) -> _Begun:
        request = self._head(method, target, headers, body)
        end = self._clock.boot() + timeout
        sock = self._borrow(end)
        try:
            reader = AnswerReader(sock, end=end, clock=self._clock, whole=self._whole)
            begun = _Begun(self, method, sock, reader, self._clock.boot())
            _bound_delivery(sock, timeout)
            self._send_request(sock, reader, request, body, end=end)
        except BaseException:
            _abandon(sock)
            raise
        return begun

    def _take(self, begun: _Begun, max_body: int | None, admit: Callable[[int], None] | None) -> Answer:
        try:
            status, answered, content = self._read_answer(begun.reader, begun.method, max_body, admit)
            received_at = self._clock.boot()
        except BaseException:
            begun.drop()
            raise
        if begun.reader.reusable:
            self._give_back(begun.sock, received_at)
        else:
            begun.sock.close()
        return Answer(status=status, headers=answered, body=content, sent_at=begun.sent_at, received_at=received_at)

    def take_later(self, begun: _Begun, timeout: float, max_body: int | None, admit: Callable[[int], None] | None) -> Answer:
        """The answer to what was begun, within *timeout* seconds from now: that it waited for us is not the store's fault."""
        begun.reader.end = self._clock.boot() + timeout
        return self._take(begun, max_body, admit)

    def close(self) -> None:
        """Close the connections that are kept."""
        _close_all(self._idle)

    def _head(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [f"{method} {target} HTTP/1.1", f"host: {self.host}", "user-agent: asset-rekey", "accept-encoding: identity"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method in {"PUT", "POST"}:
            lines.append(f"content-length: {len(body)}")
        text = "\r\n".join(lines)
        if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1 or "\0" in text:
            raise ValueError("a header holds a line break")
        return f"{text}\r\n\r\n".encode("latin-1")

    def _send_request(self, sock: socket.socket, reader: AnswerReader, head: bytes, body: bytes, *, end: float) -> None:
        try:
            self._send_all(sock, head, body, end)
        except (BrokenPipeError, ConnectionResetError):
            reader.spoiled = True  # refused before the end of the body: the answer may be there all the same
        except TimeoutError as error:
            raise UnansweredError("the request could not be sent in time") from error
        except OSError as error:
            raise UnansweredError(f"the request could not be sent: {error}") from error

    def _read_answer(
        self, reader: AnswerReader, method: str, max_body: int | None, admit: Callable[[int], None] | None
    ) -> tuple[int, dict[str, str], bytes | None]:
        try:
            return reader.read(method, max_body, admit)
        except TimeoutError as error:
            raise UnansweredError(f"{method}: no whole answer in time") from error
        except (OSError, BrokenAnswerError) as error:
            raise UnansweredError(f"{method}: {error}") from error

    def _send_all(self, sock: socket.socket, head: bytes, body: bytes, end: float) -> None:
        # Head and small body in one segment: a store may hold a lock from the head on (M5).
        first = memoryview(head + body[:SEND_BYTES])  # not the whole of a large body: a copy of it would not be in the byte budget
        for data in (first, memoryview(body)[SEND_BYTES:]):
            while data:
                left = end - self._clock.boot()
                if left <= 0:
                    raise TimeoutError
                sock.settimeout(left)
                data = data[sock.send(data[:SEND_BYTES]) :]  # noqa: PLW2901 - what is left of it

    def _leave_those_of_a_parent(self) -> None:
        """A forked child must not speak on its parent's connections."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self.close()

    def _borrow(self, end: float) -> socket.socket:
        self._leave_those_of_a_parent()
        while True:
            try:
                sock, since = self._idle.pop()
            except IndexError:
                return self._connect(end)
            if self._clock.boot() - since < IDLE_SECONDS and not _speaks(sock):
                return sock
            sock.close()

    def _give_back(self, sock: socket.socket, now: float) -> None:
        with suppress(IndexError):  # those of a busier time are at the front: nobody asks for them any more
            while now - self._idle[0][1] >= IDLE_SECONDS:
                self._idle.pop(0)[0].close()
        if len(self._idle) >= self._keep:
            sock.close()
        else:
            self._idle.append((sock, now))

    def _connect(self, end: float) -> socket.socket:
        host, port = self._address
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise UnreachableError(f"cannot resolve {host}: {error}") from error
        failure: OSError | None = None
        for tried, (family, kind, protocol, _, address) in enumerate(found):
            left = (end - self._clock.boot()) / (len(found) - tried)  # an address that swallows packets leaves time for the next
            if left <= 0:
                break
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:  # no file descriptor is left, or this machine has no such family
                failure = error
                continue
            try:
                sock.settimeout(left)
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock if self._tls is None else self._tls.wrap_socket(sock, server_hostname=host)
            except OSError as error:  # refused, timed out, certificate refused
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
        raise UnreachableError(f"cannot connect to {self.host}: {failure or 'timed out'}") from failure


@dataclass(frozen=True, slots=True)
class _Begun:
    """A request on one of the connections of *transport*."""

    transport: SocketTransport
    method: str
    sock: socket.socket
    reader: AnswerReader
    sent_at: float

    def answer(self, *, timeout: float, max_body: int | None = None, admit: Callable[[int], None] | None = None) -> Answer:
        """The whole answer."""
        return self.transport.take_later(self, timeout, max_body, admit)

    def drop(self) -> None:
        """Close the connection: its next answer would be this one."""
        _abandon(self.sock)


def _close_all(idle: list[tuple[socket.socket, float]]) -> None:
    with suppress(IndexError):
        while True:
            idle.pop()[0].close()


def _bound_delivery(sock: socket.socket, seconds: float) -> None:
    """Have the system give up what it could not deliver in *seconds*, whatever becomes of this process meanwhile.

    A store checks the date of a request when its head arrives, and the rest may be under way for a quarter of an hour.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        with suppress(OSError):  # of a connection that is no more: what is sent on it will say so
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, math.ceil(seconds * 1000))


def _abandon(sock: socket.socket) -> None:
    """Close a connection so that nothing of what was to be sent on it is delivered from now on: a plain close goes on sending."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _speaks(sock: socket.socket) -> bool:
    """Whether an idle connection has something to say: it was closed, or is out of step."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    if not poll.poll(0):
        return False
    if not isinstance(sock, ssl.SSLSocket):
        return True
    try:
        sock.settimeout(0)
        sock.recv(1)
    except ssl.SSLWantReadError:  # the tickets of a new connection (RFC 8446, 4.6.1), which are nobody's answer
        return False
    except OSError:
        return True
    return True


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Certificates and host names are verified: against *ca_file* alone, else the system's and certifi's authorities (S10).

    Raises:
        UsageError: The file has no certificates.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(f"REKEY_S3_CA_FILE: no certificates can be read from {ca_file!r}: give a file of PEM certificates") from error
    if ca_file is None:
        context.load_verify_locations(cafile=certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
