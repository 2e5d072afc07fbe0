"""What a process opens for the runs that it works on, and what it closes again."""

from __future__ import annotations

import dataclasses
import gc
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from app import resources
from app.errors import MissingObjectError
from app.run_settings import run_settings
from tests.builders import World, make_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from app.ledger.records import Run
    from app.settings import Settings


class Endpoint(ThreadingHTTPServer):
    """An endpoint without objects, which counts the connections that are open to it."""

    class Handler(BaseHTTPRequestHandler):
        """Serves one connection."""

        protocol_version = "HTTP/1.1"
        server: Endpoint

        def setup(self) -> None:
            """One more."""
            self.server.count(1)
            super().setup()

        def finish(self) -> None:
            """One less."""
            super().finish()
            self.server.count(-1)

        def do_HEAD(self) -> None:
            """There is no such object."""
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.connections = 0
        self._changed = threading.Condition()

    def count(self, more: int) -> None:
        """Count connections that were opened, or closed if *more* is negative."""
        with self._changed:
            self.connections += more
            self._changed.notify_all()

    def comes_to(self, connections: int) -> bool:
        """Whether so many are open in the end."""
        with self._changed:
            return self._changed.wait_for(lambda: self.connections == connections, timeout=5)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """It serves until the test is over."""
    with Endpoint() as opened:
        threading.Thread(target=opened.serve_forever, daemon=True).start()
        yield opened
        opened.shutdown()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The ledger of this process's runs."""
    return World(tmp_path)


@pytest.fixture
def settings(world: World, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """This process's settings; what it opens is closed after the test."""
    address = f"http://127.0.0.1:{endpoint.server_port}"
    made = make_settings(
        database_url=f"sqlite:///{world.folder}/world.db", s3_endpoint=address, s3_access_key="key", s3_secret_key="secret"
    )
    monkeypatch.setattr(resources, "_settings", made)
    yield made
    resources.close()


@pytest.mark.parametrize(("target", "expected"), [(None, 1), ("elsewhere", 2)])
def test_connections_of_a_run_end_with_the_last_task_of_it(
    target: str | None, expected: int, world: World, settings: Settings, endpoint: Endpoint
) -> None:
    """A worker keeps a few runs open. The others' connections close when no task works with them, and not when chance collects them."""
    first, *others = [_run(world, settings, number, target) for number in range(resources.MAX_CONTEXTS + 1)]
    gc.disable()
    try:
        context = resources.context(first)
        for key in ("up/1.png", "clients/7/assets/1.png"):
            with suppress(MissingObjectError):
                context.store.stat(key)
        for run in others:
            resources.context(run)
        context.note(first, "copy", outcomes=1, failed=0)

        assert endpoint.connections == expected
        del context
        assert endpoint.comes_to(0)
    finally:
        gc.enable()


def _run(world: World, settings: Settings, number: int, target: str | None) -> Run:
    own = settings.model_copy(update={"s3_bucket": f"bucket-{number}", "target_bucket": target})
    return world.context.runs.create(
        bucket=own.s3_bucket,
        table_name=own.table,
        settings=run_settings(own),
        capabilities=dataclasses.asdict(world.store.capabilities),
        rows=0,
        user="tester",
        version="0",
    )
