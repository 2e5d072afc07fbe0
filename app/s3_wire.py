"""HTTP/1.1 answers, read from a socket until a boot-clock time and no longer.

Strict: an answer whose end cannot be proved is no answer, since a cut copy or an unread error must never pass for success (CASES 8).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from app.clock import Clock

MAX_HEAD_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 32 * 1024 * 1024  # a page of 1000 keys is under 5 MiB even if each of their bytes is encoded
CLOSED = "the connection was closed before the end of the answer"
RECEIVE_BYTES = 64 * 1024
OFTEN_BYTES = 128  # header lines up to so long are remembered
_NO_BODY = frozenset({204, 304})
_OBJECT = frozenset({200, 206})


class BrokenAnswerError(Exception):
    """What came is not a whole HTTP answer."""


class AnswerReader:
    """Reads one answer. Afterwards ``reusable`` tells whether the connection may carry another request."""

    __slots__ = ("_buffer", "_clock", "_sock", "_whole", "end", "reusable", "spoiled")

    def __init__(self, sock: socket.socket, *, end: float, clock: Clock, whole: bool = True) -> None:
        """*whole*: a body must tell its length; else one that does not is left unread (None), for who wants the status alone."""
        self._sock = sock
        self.end = end
        self._clock = clock
        self._whole = whole
        self._buffer = b""
        self.reusable = False
        self.spoiled = False  # the request was not taken whole, so the connection is out of step

    def read(self, method: str, max_body: int | None, admit: Callable[[int], None] | None) -> tuple[int, dict[str, str], bytes | None]:
        """Status, headers (lower-case names) and body; the body of a 200 or 206 is None if it is longer than *max_body*.

        *admit* is told the length of such a body before it is read and may wait; the wait does not count against the answer's time.
        """
        status, version, headers = self._head()
        while 100 <= status < 200:  # noqa: PLR2004 - an interim answer; the real one follows
            status, version, headers = self._head()
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        if method == "HEAD" or status in _NO_BODY:
            body: bytes | None = b""
        else:
            wanted = status in _OBJECT  # the limits are for objects; an error's text is always read
            limit = max_body if max_body is not None and wanted else MAX_ANSWER_BYTES
            body = self._body(headers, limit, admit if wanted else None)
        self.reusable = keep and body is not None and not self._buffer and not self.spoiled
        return status, headers, body

    def _fill(self) -> None:
        self._wait()
        chunk = self._sock.recv(RECEIVE_BYTES)
        if not chunk:
            raise BrokenAnswerError(CLOSED)
        self._buffer = self._buffer + chunk if self._buffer else chunk

    def _receive_into(self, place: memoryview) -> int:
        self._wait()
        received = self._sock.recv_into(place)
        if not received:
            raise BrokenAnswerError(CLOSED)
        return received

    def _wait(self) -> None:
        left = self.end - self._clock.boot()
        if left <= 0:
            raise TimeoutError("no whole answer in time")
        self._sock.settimeout(left)

    def _take_until(self, mark: bytes) -> bytes:
        while (at := self._buffer.find(mark)) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise BrokenAnswerError("the answer's head has no end")
            self._fill()
        taken, self._buffer = self._buffer[:at], self._buffer[at + len(mark) :]
        return taken

    def _head(self) -> tuple[int, str, dict[str, str]]:
        # Latin-1 keeps the bytes of non-ASCII metadata, so that they can be sent on as they are.
        first, *lines = self._take_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise BrokenAnswerError("this is not HTTP/1.1")
        headers: dict[str, str] = {}
        for line in lines:
            name, value = _often(line) if len(line) < OFTEN_BYTES else _header(line)
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        return int(rest[:3]), version, headers

    def _body(self, headers: dict[str, str], limit: int, admit: Callable[[int], None] | None) -> bytes | None:
        length = headers.get("content-length")
        coding = headers.get("transfer-encoding")
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise BrokenAnswerError("the answer's framing is ambiguous")
            return self._chunked(limit)
        if length is None and not self._whole:
            return None
        if length is None or not (length.isascii() and length.isdigit()):
            raise BrokenAnswerError("the answer does not tell its length")
        if int(length) > limit:
            return None
        if admit is not None:
            asked = self._clock.boot()
            admit(int(length))
            self.end += self._clock.boot() - asked
        return self._exactly(int(length))

    def _exactly(self, length: int) -> bytes:
        if len(self._buffer) >= length:
            taken, self._buffer = self._buffer[:length], self._buffer[length:]
            return taken
        whole = bytearray(length)  # in one piece: thousands of small ones would leave a worker's memory full of holes
        have = len(self._buffer)
        whole[:have], self._buffer = self._buffer, b""
        rest = memoryview(whole)
        while have < length:
            have += self._receive_into(rest[have : have + RECEIVE_BYTES])
        return bytes(whole)

    def _chunked(self, limit: int) -> bytes | None:
        chunks: list[bytes] = []
        total = 0
        while True:
            size_text = self._take_until(b"\r\n").partition(b";")[0].strip()
            try:
                size = int(size_text, 16)
            except ValueError as error:
                raise BrokenAnswerError("a chunk's size is broken") from error
            if size == 0:
                break
            total += size
            if total > limit or size < 0:
                return None
            chunks.append(self._exactly(size))
            if self._exactly(2) != b"\r\n":
                raise BrokenAnswerError("a chunk's end is broken")
        while self._take_until(b"\r\n"):  # trailers
            pass
        return b"".join(chunks)


def _header(line: str) -> tuple[str, str]:
    """Name, in small letters, and value."""
    name, colon, value = line.partition(":")
    if not colon or not name or name != name.strip():
        raise BrokenAnswerError("a header line is broken")
    return name.lower(), value.strip(" \t")


_often = lru_cache(maxsize=512)(_header)  # most lines of an answer are those of the one before
