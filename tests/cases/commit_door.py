"""A door before a database server that cuts a connection at a COMMIT: just before the server hears of it, or just after it has answered."""

from __future__ import annotations

import random
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy.engine import make_url

_BLOCK = 65536


class CommitDoor:
    """Listens on loopback and passes everything on; a share of the COMMITs, by chance, is cut once it is armed."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self._target = (str(parsed.host), int(parsed.port or 0))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = parsed.set(port=self._listener.getsockname()[1]).render_as_string(hide_password=False)
        self._lock = threading.Lock()
        self._share, self._answered, self._chance = 0.0, False, random.Random()
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, *, share: float, answered: bool, seed: int) -> None:
        """Begin to cut; *answered*: what is cut is the answer, and the server has done it."""
        self._share, self._answered, self._chance = share, answered, random.Random(seed)

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _is_cut(self, block: bytes) -> bool:
        if b"COMMIT" not in block:
            return False
        with self._lock:
            cut = self._chance.random() < self._share
            self.cuts += cut
            return cut

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(self._target) as server:
            while True:
                readable, _, _ = select.select([client, server], [], [])
                for end in readable:
                    block = end.recv(_BLOCK)
                    if not block:
                        return
                    if end is client and self._is_cut(block):
                        if self._answered:
                            server.sendall(block)
                            server.recv(_BLOCK)
                        return
                    (server if end is client else client).sendall(block)


@contextmanager
def cutting(url: str) -> Iterator[CommitDoor]:
    """A door before the database at *url*."""
    door = CommitDoor(url)
    try:
        yield door
    finally:
        door.close()
