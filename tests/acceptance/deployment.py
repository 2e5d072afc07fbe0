"""A deployment as its operator has it: settings in the environment, commands and workers as processes of their own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.acceptance.commands import commands
from tests.acceptance.service import Service
from tests.integration.processes import ROOT, Process

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import S3Server

STAGES = ("seed", "copy", "rename", "delete")
COMMAND_SECONDS = 60.0
# Of a busy machine with few cores; a test that finds an error ends at once.
PATIENCE_SECONDS = 240.0
QUICK = {
    "REKEY_GRACE_SECONDS": "0",
    "REKEY_SETTLE_SECONDS": "2",
    "REKEY_LOOK_SECONDS": "1",
    "REKEY_RECONCILE_SECONDS": "1",
    "REKEY_HINT_SECONDS": "10",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """The one JSON object that it printed."""
        lines = self.out.splitlines()
        assert len(lines) == 1, f"exit status {self.status}, not one line: {self.out!r}\n{self.err}"
        found = json.loads(lines[0])
        assert isinstance(found, dict)
        return found

    @property
    def complaint(self) -> str:
        """The one line that it wrote to standard error."""
        lines = self.err.splitlines()
        assert len(lines) == 1, f"exit status {self.status}, not one line: {self.err!r}"
        return lines[0]


class Running(Process):
    """A command or worker that runs."""

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def finish(self, *, seconds: float) -> Ended:
        """Wait for its end; standard error is part of its output."""
        status = self.wait(seconds=seconds)
        return Ended(status=status, out=self.output().strip().rpartition("\n")[2], err=self.output())


class Deployment:
    """One database, broker and store with their settings; each ``service`` made in it has a table and a bucket of its own."""

    def __init__(
        self, *, database_url: str, broker_url: str, store: S3Server, folder: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        self.database_url = database_url
        self.store = store
        self.folder = folder
        foreign = ("REKEY_", "CELERY_", "FLOWER_", "BROKER_URL")
        plain = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self.environ = plain | {
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(folder),  # heartbeats
            "REKEY_DATABASE_URL": database_url,
            "REKEY_BROKER_URL": broker_url,
            "REKEY_QUEUE_PREFIX": f"{secrets.token_hex(4)}:",  # tests share a broker
            "REKEY_S3_ENDPOINT": store.endpoint,
            "REKEY_S3_ACCESS_KEY": store.access_key,
            "REKEY_S3_SECRET_KEY": store.secret_key,
            "REKEY_S3_BUCKET": store.bucket,
            "REKEY_TABLE": "assets",
            **QUICK,
            **(settings or {}),
        }

    def service(self, *, key_type: str = "TEXT", more: str = "") -> tuple[Service, Mapping[str, str]]:
        """A new table and a new bucket, and the settings that name them."""
        mark = secrets.token_hex(4)
        service = Service(self.database_url, self.store, table=f"assets_{mark}", bucket=f"assets-{mark}")
        service.table.create(key_type=key_type, more=more)
        service.bucket.make()
        return service, {"REKEY_TABLE": service.table.name, "REKEY_S3_BUCKET": service.bucket.name}

    def run(
        self, *command: str, seconds: float = COMMAND_SECONDS, cwd: Path | None = None, without: tuple[str, ...] = (), **settings: str
    ) -> Ended:
        """``python -m COMMAND...`` to its end."""
        environ = {name: value for name, value in (self.environ | settings).items() if name not in without}
        if command[0] == "app" and cwd is None:
            status, out, err = commands().run(*command, environ=environ, cwd=self.folder, seconds=seconds)
            return Ended(status=status, out=out, err=err)
        try:
            done = subprocess.run(
                [sys.executable, "-m", *command],
                env=environ,
                cwd=cwd or self.folder,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{' '.join(command)} still runs after {seconds} s: {error.stdout!r} {error.stderr!r}") from None
        return Ended(status=done.returncode, out=done.stdout, err=done.stderr)

    def rekey(self, *args: str, seconds: float = COMMAND_SECONDS, **settings: str) -> Ended:
        """``rekey ARGS...`` to its end."""
        return self.run("app", *args, seconds=seconds, **settings)

    def start(self, *command: str, name: str, **settings: str) -> Running:
        """``python -m COMMAND...``, left running."""
        return Running([sys.executable, "-m", *command], environ=self.environ | settings, folder=self.folder, name=name)

    def status(self, **settings: str) -> dict[str, Any]:
        """``rekey status --json``."""
        ended = self.rekey("status", "--json", **settings)
        assert ended.status == 0, ended.err
        return ended.report

    def wait_for(self, what: Callable[[dict[str, Any]], object], *, seconds: float = PATIENCE_SECONDS, **settings: str) -> dict[str, Any]:
        """The first report of which *what* is true; there may be no run yet, where ``enqueue`` was started and not waited for."""
        end = time.monotonic() + seconds
        while True:
            ended = self.rekey("status", "--json", **settings)
            assert ended.status == 0 or "no run yet" in ended.err, ended.err
            if ended.status == 0 and what(ended.report):
                return ended.report
            assert time.monotonic() < end, f"not within {seconds} s: {ended.out} {ended.err}"
            time.sleep(0.2)

    @contextmanager
    def workers(self, *, name: str = "workers", **settings: str) -> Iterator[Running]:
        """``python -m workers`` for the length of a block, come up; its end is the operator's SIGTERM."""
        process = self.start("workers", name=name, **settings)
        try:
            for stage in STAGES:
                process.wait_for(f"consumes {stage},", seconds=PATIENCE_SECONDS)
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(seconds=60) == 0, process.output()
        finally:
            process.kill()
        assert "Traceback" not in process.output(), process.output()
