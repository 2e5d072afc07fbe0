"""Whole HTTP requests and answers, read as they come and kept byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Request:
    """One whole request."""

    method: str
    target: str
    head: bytes
    body: bytes

    @property
    def writes(self) -> bool:
        """Whether it could change the bucket (DeleteObjects is a POST)."""
        return self.method in {"PUT", "POST", "DELETE"}

    @property
    def of_object(self) -> bool:
        """Whether it reads one object, or its headers."""
        path, _, query = self.target.partition("?")
        return self.method in {"GET", "HEAD"} and path.strip("/").count("/") > 0 and "list-type" not in query

    @property
    def deletes(self) -> bool:
        """Whether it deletes objects."""
        return self.method == "DELETE" or (self.method == "POST" and "&delete=" in self.target.replace("?", "&"))


class ClosedError(Exception):
    """The end of a connection, made by us or by the store."""


BROKEN = (OSError, ValueError, ClosedError)  # ValueError: what is left of an answer when the store is killed


def read_request(stream: BinaryIO) -> Request | None:
    """The next request of a connection, None at its end."""
    head = _read_head(stream)
    if not head:
        return None
    method, target, _ = head.split(b" ", 2)
    return Request(method.decode(), target.decode(), head, stream.read(_length(head) or 0))


def read_answer(stream: BinaryIO, request: Request) -> tuple[bytes, int]:
    """The whole answer as it came, and its status."""
    head = _read_head(stream)
    if not head:
        raise ClosedError
    status = int(head.split(b" ", 2)[1])
    if request.method == "HEAD" or status in {204, 304}:
        return head, status
    length = _length(head)
    return head + (stream.read(length) if length is not None else b"".join(_chunks(stream))), status


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while True:
        line = stream.readline()
        yield line
        size = int(line.split(b";")[0], 16)
        yield stream.read(size + 2)
        if size == 0:
            return


def _read_head(stream: BinaryIO) -> bytes:
    head = b""
    while line := stream.readline():
        head += line
        if line == b"\r\n":
            return head
    return b""


def _length(head: bytes) -> int | None:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return None
