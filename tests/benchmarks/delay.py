"""A store that is far away: a proxy on the loopback interface that holds all bytes for half a round trip, in both directions.

``python -m tests.benchmarks.delay --listen PORT --to HOST:PORT --ms 100``. One thread, no HTTP: a request
and its answer cost it some four system calls. A connection's first bytes wait for a round trip more, which its handshake would have taken.
It bounds no rate, knows no slow start, and reads on whatever the other side takes: for small objects.
"""

from __future__ import annotations

import argparse
import heapq
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

READ_BYTES = 256 * 1024


@dataclass(slots=True)
class _End:
    """One of the two sockets of a connection."""

    sock: socket.socket
    not_before: float  # when the first byte of a new connection may be under way
    other: _End | None = None
    unsent: bytearray = field(default_factory=bytearray)
    over: bool = False  # the other side will send no more
    blocked: bool = False  # the system takes no more of them for now
    silent: bool = False  # this side has ended
    closed: bool = False


class Delay:
    """The proxy; ``run`` returns never."""

    def __init__(self, listener: socket.socket, to: tuple[str, int], *, seconds: float) -> None:
        self._listener = listener
        self._to = to
        self._seconds = seconds  # of a round trip
        self._poll = select.epoll()
        self._ends: dict[int, _End] = {}
        self._way: list[tuple[float, int, _End, bytes]] = []  # bytes under way; empty ones are the end of a side
        self._number = 0

    def run(self) -> None:
        """Serve for ever."""
        self._listener.setblocking(False)  # noqa: FBT003 - the library's signature
        self._poll.register(self._listener, select.EPOLLIN)
        while True:
            wait = max(0.0, self._way[0][0] - time.monotonic()) if self._way else -1
            for number, events in self._poll.poll(wait):
                if number == self._listener.fileno():
                    self._accept()
                    continue
                end = self._ends.get(number)
                if end is not None and events & select.EPOLLOUT:
                    self._send(end)
                if end is not None and events & ~select.EPOLLOUT:
                    self._read(end)
            self._arrive()

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._to)
                begun = time.monotonic() + self._seconds
                ends = [_End(sock, begun) for sock in (near, far)]
                for end, other in zip(ends, reversed(ends), strict=True):
                    end.other = other
                    end.sock.setblocking(False)  # noqa: FBT003 - the library's signature
                    end.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._ends[end.sock.fileno()] = end
                    self._poll.register(end.sock, select.EPOLLIN)

    def _read(self, end: _End) -> None:
        try:
            data = end.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:  # nothing is left to be said to it either: an HTTP client that ends its side wants no answer
            end.silent = True
            self._poll.unregister(end.sock)
        if end.other is not None:
            self._number += 1
            due = max(time.monotonic(), end.not_before) + self._seconds / 2
            heapq.heappush(self._way, (due, self._number, end.other, data))

    def _arrive(self) -> None:
        now = time.monotonic()
        while self._way and self._way[0][0] <= now:
            _, _, end, data = heapq.heappop(self._way)
            end.over = end.over or not data
            if not end.closed:
                end.unsent += data
                self._send(end)

    def _send(self, end: _End) -> None:
        try:
            while end.unsent and not end.silent:
                del end.unsent[: end.sock.send(end.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            end.over, end.unsent = True, bytearray()
        if end.over and (end.silent or not end.unsent):
            self._close(end)
        elif not end.silent and end.blocked != bool(end.unsent):
            end.blocked = bool(end.unsent)
            self._poll.modify(end.sock, select.EPOLLIN | (select.EPOLLOUT if end.blocked else 0))

    def _close(self, end: _End) -> None:
        """Both sides: HTTP ends with either of them."""
        for each in (end, end.other):
            if each is not None and not each.closed:
                each.closed = True
                del self._ends[each.sock.fileno()]
                each.sock.close()


def main(args: Sequence[str]) -> int:
    """Listen and serve until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.delay", description=__doc__)
    parser.add_argument("--listen", type=int, required=True, help="port of the loopback interface")
    parser.add_argument("--to", required=True, help="HOST:PORT of the store")
    parser.add_argument("--ms", type=float, required=True, help="what a round trip takes longer")
    options = parser.parse_args(args)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    host, _, port = options.to.rpartition(":")
    with socket.create_server(("127.0.0.1", options.listen), backlog=1024) as listener:
        Delay(listener, (host, int(port)), seconds=options.ms / 1000).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
