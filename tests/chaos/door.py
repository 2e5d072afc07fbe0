"""A door between the workers and the object store that lets through most requests, and harms some of them in seeded turns.

It knows HTTP well enough to harm whole requests: refuse, reset, stall, cut, lose the reply of what was done, or let it through too late.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO
from urllib.parse import urlsplit

from tests.chaos.plan import Rates
from tests.chaos.wire import BROKEN, ClosedError, Request, read_answer, read_request

SECONDS = 30.0  # for any one step of a connection
_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_MISSING = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"


class FaultyDoor:
    """Listens on loopback and passes requests on; harmless until it is ``armed``."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.done: Counter[str] = Counter()  # by fault and method
        self.late: Counter[tuple[str, str]] = Counter()  # writes let through too late, by method and what the store made of them
        self._rates: Rates | None = None
        self._chance = random.Random()
        self._lock = threading.Lock()
        self._harm: dict[str, tuple[Callable[[Request], bool], Callable[[_Passage, Request], None]]] = {
            "slow_down": (lambda _: True, _Passage.slow_down),
            "missing": (lambda request: request.of_object, _Passage.missing),
            "reset": (lambda _: True, _Passage.reset),
            "lost_reply": (lambda _: True, _Passage.lose_reply),
            "truncate": (lambda _: True, _Passage.truncate),
            "stall": (lambda _: True, _Passage.stall),
            "cut_upload": (lambda request: len(request.body) > 1, _Passage.cut_upload),
            "late": (lambda request: request.writes, _Passage.let_through_late),
            "late_delete": (lambda request: request.deletes, _Passage.let_through_late),
        }
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, rates: Rates, *, seed: int) -> None:
        """Begin to harm requests."""
        with self._lock:
            self._chance = random.Random(seed)
            self._rates = rates

    def disarm(self) -> None:
        """Let everything pass."""
        self._rates = None

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def connect(self) -> socket.socket:
        """A connection to the store itself."""
        return socket.create_connection(self._target, timeout=SECONDS)

    def draw(self, request: Request) -> tuple[Callable[[_Passage, Request], None], Rates] | None:
        """Which fault befalls this request, if any."""
        rates = self._rates
        if rates is None:
            return None
        with self._lock:
            for name, share in rates.shares.items():
                fits, harm = self._harm[name]
                if fits(request) and self._chance.random() < share:
                    self.done[f"{name} {request.method}"] += 1
                    return harm, rates
        return None

    def note_late(self, request: Request, answer: bytes, status: int) -> None:
        """The store has answered a write that came too late; MinIO refuses an expired DeleteObjects by 200 with an error a key (M2)."""
        refused = status >= 400 or (b"<Error>" in answer and b"<Deleted>" not in answer)
        with self._lock:
            self.late[request.method, "refused" if refused else f"carried out ({status})"] += 1

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.settimeout(SECONDS)
                threading.Thread(target=_Passage(self, client).serve, daemon=True).start()


class _Passage:
    """One client's connection and the store's end of it."""

    def __init__(self, door: FaultyDoor, client: socket.socket) -> None:
        self._door = door
        self._client = client
        self._server: socket.socket | None = None
        self._answers: BinaryIO | None = None
        self._rates = Rates({}, 0.0, 0.0)

    def serve(self) -> None:
        """Take requests until one end closes, or a fault does."""
        with suppress(*BROKEN), self._client.makefile("rb") as requests:
            while (request := read_request(requests)) is not None:
                drawn = self._door.draw(request)
                if drawn is None:
                    self._client.sendall(self._ask(request)[0])
                else:
                    harm, self._rates = drawn
                    harm(self, request)
        self._close_server()
        with suppress(OSError):
            self._client.close()

    def slow_down(self, request: Request) -> None:
        """503, and the store hears nothing of it."""
        self._answer(request, b"503 Service Unavailable", _SLOW_DOWN)

    def missing(self, request: Request) -> None:
        """404, though the object may well be there (case 16)."""
        self._answer(request, b"404 Not Found", _MISSING)

    def reset(self, _request: Request) -> None:
        """The connection breaks before the store hears of it."""
        self._reset_client()

    def lose_reply(self, request: Request) -> None:
        """It is done, and the connection breaks before the reply (case 18)."""
        self._ask(request)
        self._reset_client()

    def truncate(self, request: Request) -> None:
        """It is done, and the reply ends in the middle."""
        whole, _ = self._ask(request)
        self._client.sendall(whole[: max(1, len(whole) - 1 - len(whole) // 4)])
        self._reset_client()

    def stall(self, _request: Request) -> None:
        """Silence for longer than a request may take; the store hears nothing of it."""
        time.sleep(self._rates.stall_seconds)
        self._reset_client()

    def cut_upload(self, request: Request) -> None:
        """The body stalls half way, and never ends."""
        with self._door.connect() as server:
            server.sendall(request.head + request.body[: len(request.body) // 2])
            time.sleep(self._rates.stall_seconds)
        self._reset_client()

    def let_through_late(self, request: Request) -> None:
        """Held back for longer than its lease, and then carried on to the store, which must refuse it (H2)."""
        threading.Timer(self._rates.late_seconds, self._let_through, (request,)).start()
        time.sleep(self._rates.stall_seconds)
        self._reset_client()

    def _let_through(self, request: Request) -> None:
        with suppress(*BROKEN), self._door.connect() as server, server.makefile("rb") as answers:
            server.sendall(request.head + request.body)
            self._door.note_late(request, *read_answer(answers, request))

    def _answer(self, request: Request, status: bytes, body: bytes) -> None:
        length = str(len(body)).encode()
        head = b"HTTP/1.1 " + status + b"\r\nContent-Type: application/xml\r\nContent-Length: " + length + b"\r\n\r\n"
        self._client.sendall(head if request.method == "HEAD" else head + body)

    def _ask(self, request: Request) -> tuple[bytes, int]:
        if self._server is None:
            self._server = self._door.connect()
            self._answers = self._server.makefile("rb")
        self._server.sendall(request.head + request.body)
        assert self._answers is not None
        return read_answer(self._answers, request)

    def _reset_client(self) -> None:
        """RST instead of FIN, and nothing more on this connection."""
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ClosedError

    def _close_server(self) -> None:
        for end in (self._answers, self._server):
            if end is not None:
                with suppress(OSError):
                    end.close()


@contextmanager
def faulty(endpoint: str) -> Iterator[FaultyDoor]:
    """A door before the store at *endpoint*."""
    door = FaultyDoor(endpoint)
    try:
        yield door
    finally:
        door.close()
