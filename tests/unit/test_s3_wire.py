"""Reading HTTP answers: whole ones are taken, everything else is none."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from app.clock import BootClock
from app.s3_objects import read_info
from app.s3_wire import AnswerReader, BrokenAnswerError

if TYPE_CHECKING:
    from collections.abc import Iterator

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection: the client's and the server's."""
    client, server = socket.socketpair()
    yield client, server
    client.close()
    server.close()


def _reader(client: socket.socket, *, seconds: float = 5.0) -> AnswerReader:
    clock = BootClock()
    return AnswerReader(client, end=clock.boot() + seconds, clock=clock)


def test_answer_is_read_whole(pair: tuple[socket.socket, socket.socket]) -> None:
    """Status, headers in lower case and the body of the length told; the connection is as good as before."""
    client, server = pair
    server.sendall(OK + b'ETag: "e"\r\nContent-Length: 5\r\nX-Amz-Meta-A:  b \r\n\r\nhello')
    reader = _reader(client)

    assert reader.read("GET", None, None) == (200, {"etag": '"e"', "content-length": "5", "x-amz-meta-a": "b"}, b"hello")
    assert reader.reusable


def test_answer_is_read_whole_when_it_comes_byte_by_byte(pair: tuple[socket.socket, socket.socket]) -> None:
    """No boundary between packets matters."""
    client, server = pair
    text = OK + b"Transfer-Encoding: chunked\r\n\r\n4;x=y\r\nwiki\r\n5\r\npedia\r\n0\r\nTrailer: 1\r\n\r\n"

    def drip() -> None:
        for number in range(len(text)):
            server.sendall(text[number : number + 1])

    thread = threading.Thread(target=drip)
    thread.start()
    reader = _reader(client)

    assert reader.read("GET", None, None)[2] == b"wikipedia"
    assert reader.reusable
    thread.join()


def test_metadata_keeps_its_bytes(pair: tuple[socket.socket, socket.socket]) -> None:
    """A header value in UTF-8 can be sent on as the bytes that came."""
    client, server = pair
    server.sendall(OK + "x-amz-meta-a: grüße\r\ncontent-length: 0\r\n\r\n".encode())

    headers = _reader(client).read("GET", None, None)[1]

    assert headers["x-amz-meta-a"].encode("latin-1") == "grüße".encode()


def test_header_that_comes_twice_is_joined(pair: tuple[socket.socket, socket.socket]) -> None:
    """Two lines of one name are one list."""
    client, server = pair
    server.sendall(OK + b"vary: a\r\nVary: b\r\ncontent-length: 0\r\n\r\n")

    assert _reader(client).read("GET", None, None)[1]["vary"] == "a,b"


def test_interim_answer_is_passed_over(pair: tuple[socket.socket, socket.socket]) -> None:
    """After 100 Continue comes the answer."""
    client, server = pair
    server.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")

    assert _reader(client).read("PUT", None, None) == (204, {}, b"")


def test_head_has_no_body_whatever_length_is_told(pair: tuple[socket.socket, socket.socket]) -> None:
    """The length of a HEAD is the object's."""
    client, server = pair
    server.sendall(OK + b"content-length: 4096\r\n\r\n")
    reader = _reader(client)

    assert reader.read("HEAD", None, None)[2] == b""
    assert reader.reusable


@pytest.mark.parametrize(
    "text",
    [
        OK + b"content-length: 5\r\n\r\nhell",
        OK + b"content-length: 5\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\nfive\r\nhello\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        OK + b"transfer-encoding: gzip\r\n\r\nhello",
        OK + b"content-length: -5\r\n\r\nhello",
        OK + b"content-length: 5,5\r\n\r\nhello",
        OK + b"\r\nhello",
        OK + b"a : b\r\ncontent-length: 0\r\n\r\n",
        OK + b"a: b\r\n folded\r\ncontent-length: 0\r\n\r\n",
        OK + b"no colon\r\ncontent-length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"",
        OK + b"a: " + b"b" * 70_000,
    ],
)
def test_answer_whose_end_cannot_be_proved_is_none(pair: tuple[socket.socket, socket.socket], text: bytes) -> None:
    """A short, ambiguous or foreign answer is an error and never a success (CASES 8)."""
    client, server = pair
    thread = threading.Thread(target=lambda: (server.sendall(text), server.shutdown(socket.SHUT_WR)))
    thread.start()

    with pytest.raises(BrokenAnswerError):
        _reader(client).read("GET", None, None)
    thread.join()


@pytest.mark.parametrize(
    "text",
    [
        OK + b"content-length: 0\r\nconnection: close\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        OK + b"content-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n",
    ],
)
def test_connection_is_not_used_again_when_it_closes_or_is_out_of_step(pair: tuple[socket.socket, socket.socket], text: bytes) -> None:
    """The answer counts, the connection does not."""
    client, server = pair
    server.sendall(text)
    reader = _reader(client)

    assert reader.read("GET", None, None)[0] == 200
    assert not reader.reusable


def test_body_above_the_limit_is_not_read(pair: tuple[socket.socket, socket.socket]) -> None:
    """A large object's body is left where it is, and the connection is given up."""
    client, server = pair
    server.sendall(OK + b"content-length: 1000000\r\n\r\nbegin")
    admitted: list[int] = []
    reader = _reader(client)

    assert reader.read("GET", 999_999, admitted.append)[2] is None
    assert not reader.reusable
    assert admitted == []


def test_text_of_an_error_is_read_whatever_the_limit(pair: tuple[socket.socket, socket.socket]) -> None:
    """The limit is for objects."""
    client, server = pair
    server.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\n\r\nerror")

    assert _reader(client).read("GET", 1, None)[2] == b"error"


def test_wait_for_admission_does_not_count_as_time_of_the_answer(pair: tuple[socket.socket, socket.socket]) -> None:
    """A body may wait for room in memory longer than its answer may take."""
    client, server = pair
    server.sendall(OK + b"content-length: 5\r\n\r\nhe")
    admitted: list[int] = []

    def admit(size: int) -> None:
        admitted.append(size)
        time.sleep(0.3)
        server.sendall(b"llo")

    assert _reader(client, seconds=0.2).read("GET", None, admit)[2] == b"hello"
    assert admitted == [5]


@pytest.mark.parametrize("piece", [b"", b"x: y\r\n"])
def test_answer_that_trickles_ends_in_time(pair: tuple[socket.socket, socket.socket], piece: bytes) -> None:
    """The whole answer is bounded, not each packet: a server that sends a line now and then does not hold a lease for ever."""
    client, server = pair
    stop = threading.Event()

    def trickle() -> None:
        server.sendall(OK)
        while not stop.wait(0.02):
            server.sendall(piece)

    thread = threading.Thread(target=trickle)
    thread.start()
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        _reader(client, seconds=0.3).read("GET", None, None)
    stop.set()
    thread.join()

    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, None),
        ({"x-amz-storage-class": "GLACIER"}, "GLACIER"),
        ({"x-amz-storage-class": "GLACIER", "x-amz-restore": 'ongoing-request="true"'}, "GLACIER"),
        ({"x-amz-storage-class": "GLACIER", "x-amz-restore": 'ongoing-request="false", expiry-date="Fri, 21 Dec 2030 00:00:00 GMT"'}, None),
    ],
)
def test_head_tells_the_storage_class_of_what_is_not_restored(more: dict[str, str], expected: str | None) -> None:
    """So that a plan sees archives also where the store lists in no order."""
    headers = {"etag": '"a"', "content-length": "1", "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT", **more}

    assert read_info("k", headers).storage_class == expected
