"""The stage workers and beat of the demonstration: ``python -m workers`` as a process of its own, its log in the private folder."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import redis

from app import install, pulse
from app.doctor.broker import connect
from app.embedded.deferring import deferred
from app.errors import DemonstrationError
from app.pipeline import STAGES
from app.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from app.settings import Settings

STOP_SECONDS = 8.0  # for tasks that end between two requests; then they are told a second time
KILL_SECONDS = 15.0
TAIL_LINES = 2
TAIL_BYTES = 8192
_OTHERS = ("REKEY_", "CELERY_", "FLOWER_")  # variables of the user's own deployments


class Workers:
    """All workers as one; they end with this process however it ends."""

    def __init__(self, settings: Mapping[str, str], folder: Path, *, secrets: Collection[str]) -> None:
        self._settings = settings
        self._folder = folder
        self._secrets = tuple(secrets)
        self._process: subprocess.Popen[bytes] | None = None
        # A pipe of which each of them holds the other end: it comes to its end with the last of them. Those of a supervisor that was
        # killed are nobody's children, and in sessions of their own.
        self._alive: int | None = None

    @property
    def log(self) -> Path:
        """Where they write."""
        return self._folder / "workers.log"

    def start(self) -> None:
        """Start them; call it from the main thread, with which the kernel ends them."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
        paths = [str(install.HOME), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        environment["TMPDIR"] = str(self._folder)  # heartbeats
        with self.log.open("ab") as log, deferred():
            self._alive, held = os.pipe()
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, "-m", "workers", "--follow", str(os.getpid())],
                    cwd=self._folder,  # no rekey.toml of the user's
                    env=environment | dict(self._settings),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is for us
                    pass_fds=(held,),
                )
            finally:
                os.close(held)

    def check(self) -> None:
        """Raise DemonstrationError if they have ended."""
        if self._process is not None and self._process.poll() is not None:
            raise DemonstrationError(f"the workers ended with status {self._process.returncode}; {self.tail()}")

    def consume(self, settings: Settings) -> bool:
        """Whether each stage has a worker that takes messages by now; a broker that does not answer has none."""
        queues = [stage.queue for stage in STAGES]
        with closing(connect(settings.broker_url.get_secret_value())) as client, suppress(redis.RedisError):
            return len(pulse.ages(client, queues, prefix=settings.queue_prefix)) == len(queues)
        return False

    def tail(self) -> str:
        """The end of their log on one line: what was wrong, if something was."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            lines = []
        last = [line.strip() for line in lines if line.strip()][-TAIL_LINES:]
        return redact("the workers' log ends: " + " | ".join(last), self._secrets) if last else "the workers' log is empty"

    def stop(self) -> None:
        """Stop them in good order, insist after a while, and wait for the last of them; safe to repeat."""
        process, self._process = self._process, None
        if process is None:
            return
        end = time.monotonic() + STOP_SECONDS
        for number, until in ((signal.SIGTERM, end), (signal.SIGTERM, end + KILL_SECONDS), (signal.SIGKILL, None)):
            process.send_signal(number)
            try:
                process.wait(None if until is None else max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                continue
            break
        self._wait_for_the_last()

    def _wait_for_the_last(self) -> None:
        """Wait for the workers of a supervisor that was killed: the kernel has told them to end."""
        alive, self._alive = self._alive, None
        if alive is not None:
            select.select([alive], [], [], KILL_SECONDS)
            os.close(alive)
