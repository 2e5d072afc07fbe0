"""A door before the object store that counts what passes through it, byte for byte unchanged."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_BLOCK = 65536


class CountingDoor:
    """Listens on loopback and passes each connection on; ``methods`` counts the requests by method."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.methods: Counter[str] = Counter()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def writes(self) -> int:
        """Requests so far that could change a bucket (DeleteObjects is a POST)."""
        with self._lock:
            return sum(self.methods[method] for method in ("PUT", "POST", "DELETE"))

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                threading.Thread(target=self._pass_requests, args=(client, server), daemon=True).start()
                threading.Thread(target=_pass_on, args=(server, client), daemon=True).start()

    def _pass_requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), client.makefile("rb") as requests:
            while head := _read_head(requests):
                with self._lock:
                    self.methods[head.split(b" ", 1)[0].decode()] += 1
                server.sendall(head)
                left = _content_length(head)
                while left:
                    block = requests.read(min(left, _BLOCK))
                    server.sendall(block)
                    left -= len(block)
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)


def _read_head(requests: object) -> bytes:
    head = b""
    while line := requests.readline():  # type: ignore[attr-defined] # a socket's file
        head += line
        if line == b"\r\n":
            break
    return head


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


def _pass_on(server: socket.socket, client: socket.socket) -> None:
    with suppress(OSError):
        while block := server.recv(_BLOCK):
            client.sendall(block)
    for end in (client, server):
        with suppress(OSError):
            end.close()


@contextmanager
def counting(endpoint: str) -> Iterator[CountingDoor]:
    """A door before the store at *endpoint*."""
    door = CountingDoor(endpoint)
    try:
        yield door
    finally:
        door.close()
