"""All workers and beat as children of one process, for a machine without a process manager of its own.

The children are forks: what all of them import is imported once (1.7 s of processor time each, otherwise) and held in memory once. A
child that dies is started again, at once the first time and then at growing intervals. A signal to stop is passed on, and the supervisor
ends when all children have ended; killed itself, it takes them with it (they ask the kernel for that, see ``follow``).
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from types import FrameType

from app.celery_app import INCLUDED

POLL_SECONDS = 0.2
STEADY_SECONDS = 60.0  # a child that ran this long has recovered: its next death counts as the first
MAX_PAUSE_SECONDS = 30.0
MOST_DOUBLINGS = 16  # beyond that pause; a child may die for days, and the power must not overflow
KILL_SECONDS = 10.0  # after a second signal
USAGE = 2  # exit status that a new start cannot mend
INTERRUPTED = 130
# Celery imports these by need, once its command line has been read.
_CELERY = (
    "celery.bin.celery",
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.concurrency.thread",
    "celery.worker.autoscale",
    "kombu.transport.redis",
)
PASSED_ON = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG = 1

_log = logging.getLogger(__name__)


def import_for_children() -> None:
    """Import what each child would import for itself. Nothing is connected or opened: forks must share no connection."""
    for module in (*_CELERY, *INCLUDED):
        import_module(module)
    gc.collect()
    gc.freeze()  # or the children's collectors would touch, and so copy, each of these pages


class Forked(BaseException):
    """Raised in a new child, which is to leave the supervisor's calls behind and become *name*."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Child:
    """One process that is to run until the supervisor stops."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._pid: int | None = None
        self._status: int | None = None
        self._deaths = 0
        self._started = 0.0
        self._due = 0.0

    @property
    def status(self) -> int | None:
        """The last exit status (a signal's number, negated, where one killed it), None while it runs or before its first start."""
        return self._status

    def start(self) -> None:
        """Fork. In the child, raises Forked, with the signals as a new process has them.

        It is out of reach of the terminal's Ctrl-C: the supervisor passes that on, and two signals would mean "at once".
        """
        self._status = None
        self._started = time.monotonic()
        supervisor = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that came between the fork and the child's own handlers would be noted by the supervisor's, and forgotten.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
        try:
            self._pid = os.fork()
            if self._pid == 0:
                for signum in PASSED_ON:
                    signal.signal(signum, signal.SIG_DFL)
                os.setsid()
                follow(supervisor)
                raise Forked(self.name)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def is_running(self) -> bool:
        """Whether the process lives."""
        if self._pid is None:
            return False
        ended, status = os.waitpid(self._pid, os.WNOHANG)
        if ended:
            self._pid = None
            self._status = os.waitstatus_to_exitcode(status)
        return not ended

    def send(self, signum: int) -> None:
        """Pass a signal on."""
        if self._pid is not None and self.is_running():
            os.kill(self._pid, signum)

    def revive(self) -> None:
        """Start it again if it has died and its pause is over."""
        now = time.monotonic()
        if self.is_running():
            return
        if self._due == 0.0:
            self._deaths = 0 if now - self._started > STEADY_SECONDS else self._deaths
            pause = min(2.0 ** min(self._deaths, MOST_DOUBLINGS) - 1, MAX_PAUSE_SECONDS)
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
        """Start all, watch all, and give the exit status: 0 (130 after Ctrl-C) if all ended well when they were asked to.

        Raises Forked in each child.
        """
        for signum in PASSED_ON:
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
    """Ask the kernel to stop this process when *supervisor*, its parent, is gone. Linux only, elsewhere nothing."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor:  # it died before the kernel knew
        raise SystemExit(0)
