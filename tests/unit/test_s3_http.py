"""The transport: one request, one answer, or an error that says whether the request may have arrived."""

from __future__ import annotations

import errno
import multiprocessing
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from app.clock import BootClock
from app.errors import StoreUnavailableError, UnansweredError, UsageError
from app.s3_http import IDLE_SECONDS, SocketTransport
from app.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EMPTY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Server:
    """A server on the loopback that answers by script and notes what it was sent."""

    def __init__(
        self, answer: Callable[[socket.socket], None], *, tls: ssl.SSLContext | None = None, gate: threading.Barrier | None = None
    ) -> None:
        """*gate*: no handshake goes on before so many have begun."""
        self._answer = answer
        self._tls = tls
        self._gate = gate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._gate is not None:
                self._gate.wait(timeout=10)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            while request := self._request(connection):
                self.requests.append(request)
                self._answer(connection)
        except OSError:
            pass
        finally:
            connection.close()

    def _request(self, connection: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            if not (chunk := connection.recv(65536)):
                return b""
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length")), 0)
        while len(body) < length:
            body += connection.recv(65536)
        return head + b"\r\n\r\n" + body

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends the wait for one, too
        self._listener.close()


@contextmanager
def _served(
    answer: Callable[[socket.socket], None], *, clock: BootClock | ManualClock | None = None
) -> Iterator[tuple[Server, SocketTransport]]:
    server = Server(answer)
    transport = SocketTransport(f"http://127.0.0.1:{server.port}", clock=clock or BootClock(), keep=4)
    yield server, transport
    transport.close()
    server.close()


def test_request_goes_out_as_it_was_signed() -> None:
    """The target is not normalised, the body and its length go along."""
    with _served(lambda connection: connection.sendall(EMPTY)) as (server, transport):
        answer = transport.send("PUT", "/b//a/../%2E/x?q=%20", {"x-amz-meta-a": "gr\xc3\xbc"}, b"body", timeout=5)

        assert (answer.status, answer.body) == (200, b"")
        assert server.requests == [
            f"PUT /b//a/../%2E/x?q=%20 HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\n"
            "user-agent: asset-rekey\r\naccept-encoding: identity\r\n"
            "x-amz-meta-a: grü\r\ncontent-length: 4\r\n\r\nbody".encode()
        ]


def test_connection_is_kept() -> None:
    """One connection serves many requests."""
    with _served(lambda connection: connection.sendall(EMPTY)) as (server, transport):
        for _ in range(5):
            transport.send("GET", "/", {}, timeout=5)

        assert (server.connections, len(server.requests)) == (1, 5)


def test_answer_to_what_was_begun_is_taken_after_other_requests() -> None:
    """Each on a connection of its own; the one that was begun serves again afterwards."""
    with _served(lambda connection: connection.sendall(EMPTY)) as (server, transport):
        begun = transport.begin("GET", "/begun", {}, timeout=5)
        transport.send("PUT", "/between", {}, timeout=5)
        answer = begun.answer(timeout=5)
        transport.send("GET", "/after", {}, timeout=5)

        assert (answer.status, answer.sent_at) == (200, begun.sent_at)
        assert sorted(request.split()[1] for request in server.requests) == [b"/after", b"/begun", b"/between"]
        assert server.connections == 2


def test_answer_that_waited_for_us_has_its_whole_time_from_then_on() -> None:
    """That the request before it took long is no reason to give it up."""
    clock = ManualClock()
    with _served(lambda connection: connection.sendall(EMPTY), clock=clock) as (_, transport):
        begun = transport.begin("GET", "/", {}, timeout=5)
        clock.advance(6)

        assert begun.answer(timeout=5).status == 200


def test_connection_of_a_dropped_answer_is_not_used() -> None:
    """The next answer on it would be the one that nobody took."""
    with _served(lambda connection: connection.sendall(EMPTY)) as (server, transport):
        transport.begin("GET", "/dropped", {}, timeout=5).drop()
        transport.send("GET", "/", {}, timeout=5)

        assert server.connections == 2


def test_connection_that_was_idle_too_long_is_not_used() -> None:
    """A server may be about to close it, and a request that meets the closing is unanswered."""
    clock = ManualClock()
    with _served(lambda connection: connection.sendall(EMPTY), clock=clock) as (server, transport):
        transport.send("GET", "/", {}, timeout=5)
        clock.advance(IDLE_SECONDS)
        transport.send("GET", "/", {}, timeout=5)

        assert server.connections == 2


def test_connections_that_were_idle_too_long_are_closed_when_others_are_given_back() -> None:
    """What is left of a busier time uses up no file descriptors, and takes no place among those that are kept."""
    clock, closed = ManualClock(), threading.Semaphore(0)

    def answer(connection: socket.socket) -> None:
        connection.sendall(EMPTY)
        if not connection.recv(1, socket.MSG_PEEK):
            closed.release()

    with _served(answer, clock=clock) as (server, transport):
        for begun in [transport.begin("GET", "/", {}, timeout=5) for _ in range(4)]:
            begun.answer(timeout=5)
        for _ in range(3):  # one connection of four is enough from now on
            clock.advance(IDLE_SECONDS / 2)
            transport.send("GET", "/", {}, timeout=5)

        assert [closed.acquire(timeout=5) for _ in range(3)] == [True] * 3
        assert not closed.acquire(blocking=False)
        assert server.connections == 4


def test_connections_of_a_transport_that_nobody_has_any_more_are_closed() -> None:
    """At once, and not when the garbage collector comes round: a worker lets go of the stores of many runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = SocketTransport(f"http://127.0.0.1:{listener.getsockname()[1]}", clock=BootClock(), keep=4)
        transport.prepare(2, timeout=5)
        connections = [listener.accept()[0] for _ in range(2)]
        del transport

        for connection in connections:
            connection.settimeout(5)
            assert connection.recv(1) == b""
            connection.close()


def test_connection_that_the_server_closed_is_not_used() -> None:
    """A request after a restart of the server goes over a new connection, and is answered."""

    def answer_and_close(connection: socket.socket) -> None:
        connection.sendall(EMPTY)
        connection.shutdown(socket.SHUT_RDWR)

    with _served(answer_and_close) as (server, transport):
        for _ in range(3):
            transport.send("GET", "/", {}, timeout=5)
            time.sleep(0.05)

        assert (server.connections, len(server.requests)) == (3, 3)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort"])
def test_request_without_a_whole_answer_is_unanswered_and_not_sent_again(answer: bytes) -> None:
    """It may have been carried out, so whoever holds the lease decides."""

    def cut(connection: socket.socket) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_RDWR)

    with _served(cut) as (server, transport):
        with pytest.raises(UnansweredError):
            transport.send("PUT", "/k", {}, b"body", timeout=5)
        time.sleep(0.1)

        assert len(server.requests) == 1


def test_silent_server_is_unanswered_in_time() -> None:
    """The time-out covers everything from connecting to the last byte."""
    with _served(lambda _: time.sleep(2)) as (server, transport):
        started = time.monotonic()
        with pytest.raises(UnansweredError):
            transport.send("PUT", "/k", {}, b"body", timeout=0.3)

        assert time.monotonic() - started < 1
        assert len(server.requests) == 1


def test_body_that_was_given_up_is_not_delivered_later() -> None:
    """A store takes a request by the date in its head; what a plain close leaves to the system would come long after it."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    transport = SocketTransport(f"http://127.0.0.1:{listener.getsockname()[1]}", clock=BootClock(), keep=1)
    body = b"x" * 200_000  # all of it in the buffers

    with pytest.raises(UnansweredError):
        transport.send("PUT", "/k", {}, body, timeout=0.3)
    with listener, listener.accept()[0] as connection, pytest.raises(ConnectionResetError):
        _read_on(connection, until=len(body))


def _read_on(connection: socket.socket, *, until: int) -> None:
    received = 0
    while received < until and (chunk := connection.recv(4096)):
        received += len(chunk)


def test_system_gives_up_with_the_request_what_it_could_not_deliver() -> None:
    """This process may be stopped meanwhile, and the network be cut: it would be repeated for a quarter of an hour."""
    with _served(lambda connection: connection.sendall(EMPTY)) as (_, transport):
        begun = transport.begin("PUT", "/k", {}, b"body", timeout=7.5)
        bound = begun.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)  # type: ignore[attr-defined]

        assert begun.answer(timeout=5).status == 200
        again = transport.begin("GET", "/k", {}, timeout=9)
        assert again.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 9000  # type: ignore[attr-defined]
        assert again.answer(timeout=5).status == 200
    assert bound == 7500


def test_answer_before_the_end_of_the_body_counts() -> None:
    """A store that refuses early and closes is heard all the same."""
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 412 Precondition Failed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):
            pass
        connection.close()

    thread = threading.Thread(target=refuse)
    thread.start()
    transport = SocketTransport(f"http://127.0.0.1:{listener.getsockname()[1]}", clock=BootClock(), keep=1)

    assert transport.send("PUT", "/k", {}, b"x" * 5_000_000, timeout=5).status == 412
    transport.close()
    thread.join()
    listener.close()


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "http://no-such-host.invalid", "https://127.0.0.1:1"])
def test_request_that_cannot_have_arrived_is_told_apart(endpoint: str) -> None:
    """Without a connection nothing was carried out."""
    transport = SocketTransport(endpoint, clock=BootClock(), keep=1)

    with pytest.raises(StoreUnavailableError):
        transport.send("PUT", "/k", {}, b"body", timeout=5)


def test_request_for_which_no_file_descriptor_is_left_is_one_that_cannot_have_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    """The asset that it was for has no fault, and another time there will be one."""

    def none_left(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    with _served(lambda connection: connection.sendall(EMPTY)) as (server, transport):
        with monkeypatch.context() as patch:
            patch.setattr("app.s3_http.socket.socket", none_left)
            for ask in (lambda: transport.send("GET", "/", {}, timeout=5), lambda: transport.prepare(2, timeout=5)):
                with pytest.raises(StoreUnavailableError, match="Too many open files"):
                    ask()

        assert transport.send("GET", "/", {}, timeout=5).status == 200
        assert server.connections == 1


@pytest.mark.parametrize("value", ["a\r\nx-amz-acl: public", "a\nb", "a\0"])
def test_header_with_a_line_break_is_never_sent(value: str) -> None:
    """Nothing that a store or a row said can become a header of its own."""
    transport = SocketTransport("http://127.0.0.1:1", clock=BootClock(), keep=1)

    with pytest.raises(ValueError, match="line break"):
        transport.send("PUT", "/k", {"x-amz-meta-a": value}, timeout=5)


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "ftp://h", "http://", "http://h/path", "http://u:p@h", "http://h?x=y"])
def test_endpoint_that_cannot_be_right_is_refused(endpoint: str) -> None:
    """The message says the form, and repeats no password."""
    with pytest.raises(UsageError, match="http://host") as refusal:
        SocketTransport(endpoint, clock=BootClock(), keep=1)

    assert "u:p" not in str(refusal.value)


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [("http://h", "h"), ("http://h:80", "h"), ("https://h:443/", "h"), ("https://h:9000", "h:9000"), ("http://[::1]:9", "[::1]:9")],
)
def test_host_header_leaves_the_default_port_out(endpoint: str, expected: str) -> None:
    """The host is signed in the form that servers see."""
    assert expected == SocketTransport(endpoint, clock=BootClock(), keep=1).host


def test_connections_are_opened_as_far_as_they_are_lacking() -> None:
    """Those that are free count, unless they have been idle for so long that the server may close them."""
    clock = ManualClock()
    with _served(lambda connection: connection.sendall(EMPTY), clock=clock) as (server, transport):
        transport.send("GET", "/", {}, timeout=5)
        assert transport.prepare(3, timeout=5) == 3
        _until(lambda: server.connections == 3)
        assert transport.prepare(2, timeout=5) == 2
        clock.advance(IDLE_SECONDS + 1)
        assert transport.prepare(1, timeout=5) == 1
        transport.send("GET", "/", {}, timeout=5)
        _until(lambda: server.connections >= 4)

        assert server.connections == 4


def test_connections_that_cannot_be_opened_are_told_only_where_there_is_none() -> None:
    """What is sent on those that there are goes through."""
    with _served(lambda connection: connection.sendall(EMPTY)) as (server, transport):
        transport.send("GET", "/", {}, timeout=5)
        server.close()

        assert transport.prepare(3, timeout=5) == 1
        assert transport.send("GET", "/", {}, timeout=5).status == 200
        transport.close()
        with pytest.raises(StoreUnavailableError, match="refused"):
            transport.prepare(3, timeout=5)


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true() and time.monotonic() < end:
        time.sleep(0.01)


def _send_in_child(transport: SocketTransport, results: multiprocessing.SimpleQueue[int]) -> None:
    results.put(transport.send("GET", "/", {}, timeout=5).status)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # Celery's prefork pool does just that
def test_forked_child_opens_connections_of_its_own() -> None:
    """Parent and child never speak on one connection."""
    with _served(lambda connection: connection.sendall(EMPTY)) as (server, transport):
        transport.send("GET", "/", {}, timeout=5)
        fork = multiprocessing.get_context("fork")
        results = fork.SimpleQueue()
        child = fork.Process(target=_send_in_child, args=(transport, results))
        child.start()
        child.join()
        transport.send("GET", "/", {}, timeout=5)

        assert results.get() == 200
        assert server.connections == 2


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody has signed, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=test",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    subprocess.run([*made, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def tls_server(certificate: tuple[Path, Path]) -> Iterator[Server]:
    """A server behind that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server = Server(
        lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000), tls=context
    )
    yield server
    server.close()


def test_certificate_of_nobody_is_refused(tls_server: Server) -> None:
    """Without a known authority there is no connection, and nothing was sent (S10)."""
    transport = SocketTransport(f"https://127.0.0.1:{tls_server.port}", clock=BootClock(), keep=1)

    with pytest.raises(StoreUnavailableError, match="certificate verify failed"):
        transport.send("GET", "/", {}, timeout=5)
    assert tls_server.requests == []


def test_certificate_for_another_name_is_refused(tls_server: Server, certificate: tuple[Path, Path]) -> None:
    """The certificate must be for the host that was asked."""
    transport = SocketTransport(f"https://localhost:{tls_server.port}", clock=BootClock(), keep=1, ca_file=str(certificate[0]))

    with pytest.raises(StoreUnavailableError, match=r"Hostname mismatch|refused"):
        transport.send("GET", "/", {}, timeout=5)
    assert tls_server.requests == []


def test_certificate_of_the_given_authority_is_accepted(tls_server: Server, certificate: tuple[Path, Path]) -> None:
    """With the authority's file requests go through, and the connection is kept."""
    transport = SocketTransport(f"https://127.0.0.1:{tls_server.port}", clock=BootClock(), keep=1, ca_file=str(certificate[0]))
    for _ in range(3):
        assert transport.send("PUT", "/", {}, b"y" * 600_000, timeout=5).body == b"x" * 100_000
    transport.close()

    assert tls_server.connections == 1


@pytest.mark.parametrize("holds", ["no certificate at all", None])
def test_file_of_authorities_that_has_none_is_refused_by_its_setting(tmp_path: Path, holds: str | None) -> None:
    """One line that says which file, and not what OpenSSL calls it."""
    file = tmp_path / "ca.pem"
    if holds:
        file.write_text(holds, encoding="ascii")
    with pytest.raises(UsageError, match=r"REKEY_S3_CA_FILE: no certificates can be read from .*ca\.pem"):
        SocketTransport("https://localhost", clock=BootClock(), keep=1, ca_file=str(file))


def test_connections_are_opened_side_by_side(certificate: tuple[Path, Path]) -> None:
    """Each takes a round trip or three: a server that answers none of eight before all eight have come is no obstacle."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server = Server(lambda connection: connection.sendall(EMPTY), tls=context, gate=threading.Barrier(8))
    transport = SocketTransport(f"https://127.0.0.1:{server.port}", clock=BootClock(), keep=8, ca_file=str(certificate[0]))

    assert transport.prepare(8, timeout=10) == 8
    begun = [transport.begin("GET", "/", {}, timeout=10) for _ in range(8)]
    assert [each.answer(timeout=10).status for each in begun] == [200] * 8
    assert server.connections == 8
    transport.close()
    server.close()
