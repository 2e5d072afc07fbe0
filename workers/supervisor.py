"""All workers and beat as children of one process, for a machine without a process manager of its own.

A child that dies is started again, at once the first time and then at growing intervals. A signal to stop is passed on, and the supervisor
ends when all children have ended; killed itself, it takes them with it (they ask the kernel for that, see ``follow``).
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

POLL_SECONDS = 0.2
STEADY_SECONDS = 60.0  # a child that ran this long has recovered: its next death counts as the first
MAX_PAUSE_SECONDS = 30.0
KILL_SECONDS = 10.0  # after a second signal
USAGE = 2  # exit status that a new start cannot mend
INTERRUPTED = 130
_PR_SET_PDEATHSIG = 1

_log = logging.getLogger(__name__)


class Child:
    """One command that is to run until the supervisor stops."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._deaths = 0
        self._started = 0.0
        self._due = 0.0

    @property
    def status(self) -> int | None:
        """The last exit status, None while it runs or before its first start."""
        return self._process.returncode if self._process else None

    def start(self) -> None:
        """Start it, out of reach of the terminal's Ctrl-C: the supervisor passes that on, and two signals would mean "at once"."""
        self._process = subprocess.Popen(self._command, start_new_session=True)  # noqa: S603 - our own module
        self._started = time.monotonic()

    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def send(self, signum: int) -> None:
        """Pass a signal on."""
        if self._process and self.is_running():
            self._process.send_signal(signum)

    def revive(self) -> None:
        """Start it again if it has died and its pause is over."""
        now = time.monotonic()
        if self.is_running():
            return
        if self._due == 0.0:
            self._deaths = 0 if now - self._started > STEADY_SECONDS else self._deaths
            pause = min(2.0**self._deaths - 1, MAX_PAUSE_SECONDS)
            self._deaths += 1
            self._due = now + pause
            _log.warning("%s ended (%s); starting it again in %.0f s", self.name, describe(self.status), pause)
        if now >= self._due:
            self._due = 0.0
            self.start()


def describe(status: int | None) -> str:
    """An exit status in words."""
    if status is not None and status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"


class Supervisor:
    """Runs children until a signal comes, or until one refuses to start at all."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children
        self._signals: list[int] = []

    def run(self) -> int:
        """Start all, watch all, and give the exit status: 0 (130 after Ctrl-C) if all ended well when they were asked to."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._note)
        for child in self._children:
            child.start()
        while not self._signals:
            time.sleep(POLL_SECONDS)
            if any(child.status == USAGE for child in self._children):
                self._stop()
                return USAGE
            if not self._signals:
                for child in self._children:
                    child.revive()
        self._stop()
        if all(child.status in {0, -signal.SIGTERM} for child in self._children):
            return INTERRUPTED if self._signals[0] == signal.SIGINT else 0
        return 1

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        self._signals.append(signum)

    def _stop(self) -> None:
        """Ask all to end and wait for it; a second signal is passed on, and what then still lives is killed."""
        for child in self._children:
            child.send(signal.SIGTERM)
        kill_at = None
        while any(child.is_running() for child in self._children):
            time.sleep(POLL_SECONDS)
            if kill_at is None and len(self._signals) > 1:
                kill_at = time.monotonic() + KILL_SECONDS
                for child in self._children:
                    child.send(signal.SIGTERM)
            if kill_at is not None and time.monotonic() > kill_at:
                for child in self._children:
                    child.send(signal.SIGKILL)
        for child in self._children:
            if child.status:
                _log.warning("%s ended (%s)", child.name, describe(child.status))


def follow(supervisor: int) -> None:
    """Ask the kernel to stop this process when *supervisor*, its parent, is gone; kept through exec. Linux only, elsewhere nothing."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor:  # it died before the kernel knew
        raise SystemExit(0)
