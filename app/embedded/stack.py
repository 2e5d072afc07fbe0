"""Broker, store and an SQLite file in one folder: for as long as a ``with`` block (the demo), or detached (``rekey dev``)."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from app.embedded import broker as brokers
from app.embedded import store as stores
from app.embedded.deferring import deferred, handled
from app.embedded.place import Place
from app.errors import ServerStartError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import FrameType, TracebackType

    from app.embedded.server import Server

DATABASE = "assets.db"


class _Made(Protocol):
    """What has a server to start."""

    @property
    def server(self) -> Server:
        """The server."""


_Part = TypeVar("_Part", bound=_Made)


class Stack:
    """The servers of one ``with`` block. They end with it, and with this process however it ends; a folder of their own goes too.

    Enter it from the main thread (see Server.start). SIGTERM and SIGHUP, where nobody handles them, leave the block as SystemExit.
    """

    broker: brokers.Broker
    store: stores.Store

    def __init__(
        self, folder: Path | None = None, *, broker_program: Path | None = None, store_program: Path | None = None, bucket: str = "assets"
    ) -> None:
        self._given = folder
        self._programs = (broker_program or brokers.find_broker(), store_program or stores.find_store())
        self._bucket = bucket
        self._exits = ExitStack()
        self.folder: Path | None = None  # from when it is there
        self.settings: dict[str, str] = {}

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            exits.enter_context(_ended_by_signals())
            with deferred():
                self.folder = folder = self._given or Path(tempfile.mkdtemp(prefix="asset-rekey-"))
                if self._given is None:
                    exits.callback(shutil.rmtree, folder, ignore_errors=True)
            database = make_database(folder)
            broker_program, store_program = self._programs
            self.broker, _ = start_broker(folder, program=broker_program)
            exits.callback(self._end, self.broker.server)
            self.store, _ = start_store(folder, program=store_program, bucket=self._bucket)
            exits.callback(self._end, self.store.server)
            self.settings = {"REKEY_DATABASE_URL": f"sqlite:///{database}", **self.broker.settings, **self.store.settings}
            self._exits = exits.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._exits.__exit__(kind, error, trace)

    def _end(self, server: Server) -> None:
        if self._given is None:
            server.kill()  # its data goes too, and SeaweedFS would take 2 s to put it in order
        else:
            server.stop()


def start_broker(
    folder: Path, *, place: Place | None = None, program: Path | None = None, detached: bool = False
) -> tuple[brokers.Broker, Place]:
    """Start a broker at *place*, or where there is room."""
    return _start(lambda at: brokers.make_broker(folder, place=at, program=program, detached=detached), brokers.PORTS, place)


def start_store(
    folder: Path, *, place: Place | None = None, program: Path | None = None, bucket: str = "assets", detached: bool = False
) -> tuple[stores.Store, Place]:
    """Start a store at *place*, or where there is room."""
    return _start(lambda at: stores.make_store(folder, place=at, bucket=bucket, program=program, detached=detached), stores.PORTS, place)


def make_database(folder: Path) -> Path:
    """The SQLite file of *folder*, in WAL mode: readers and the one writer do not wait for each other."""
    path = folder.resolve() / DATABASE
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    return path


def _start(make: Callable[[Place], _Part], port_count: int, place: Place | None) -> tuple[_Part, Place]:
    place = place or Place.draw(port_count)
    part = make(place)
    try:
        part.server.start()
    except ServerStartError:
        # Between drawing a port and listening on it anyone may take it; a second refusal has another cause.
        place = Place.draw(port_count)
        part = make(place)
        part.server.start()
    return part, place


def _ended_by_signals() -> AbstractContextManager[None]:
    """Let SIGTERM and SIGHUP leave the block in good order, unless the program handles them itself."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    return handled((signal.SIGTERM, signal.SIGHUP), leave, where=lambda present: present is signal.SIG_DFL)
