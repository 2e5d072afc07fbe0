"""What both example services share: their settings, and a server that answers a few requests at once."""

from __future__ import annotations

import os
import socketserver
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

DATABASE_URL = os.environ["SERVICE_DATABASE_URL"]
TABLE = os.environ["SERVICE_TABLE"]
BUCKET = os.environ["SERVICE_BUCKET"]
ENDPOINT = os.environ["SERVICE_ENDPOINT"]
ACCESS_KEY = os.environ["SERVICE_ACCESS_KEY"]
SECRET_KEY = os.environ["SERVICE_SECRET_KEY"]
CLIENT_FILE = os.environ.get("SERVICE_CLIENT_FILE", "") == "yes"
GATE = Path(os.environ["SERVICE_GATE"])
HELD = int(os.environ.get("SERVICE_HELD", "0"))  # readers of assets up to this number wait between the row and the object for the gate
THINK_SECONDS = 0.2  # other readers, in between
GATE_SECONDS = 240

T = TypeVar("T")


def slowly(fetch: Callable[[str], T], number: int) -> Callable[[str], T]:
    """*fetch* for asset *number*, by a service that has something else to do first."""

    def late(key: str) -> T:
        if number <= HELD:
            (GATE / f"{os.getpid()}-{number}").touch()
            end = time.monotonic() + GATE_SECONDS
            while not (GATE / "open").exists() and time.monotonic() < end:
                time.sleep(0.05)
        else:
            time.sleep(THINK_SECONDS)
        return fetch(key)

    return late


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing of each request."""


def serve(application: WSGIApplication) -> None:
    """Serve on the port of the first argument until killed."""
    with make_server("127.0.0.1", int(sys.argv[1]), application, server_class=_Server, handler_class=_Quiet) as server:
        print("serving", flush=True)  # noqa: T201 - what the test waits for
        server.serve_forever()
