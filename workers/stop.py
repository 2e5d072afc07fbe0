"""A worker's stop: the first signal asks its tasks to end, a second one (or a stop that takes too long) ends the process.

Celery waits for running tasks however long they take and ignores a second SIGTERM; its soft shutdown time-out shortens nothing for the
threads pool. So the tasks read a flag between two requests, and what still runs after that is left to the ledger: its leases are given
back.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from types import FrameType
from typing import Any

from celery import bootsteps, signals

from app import resources
from app.celery_app import celery
from app.stopping import stopping

RELEASE_SECONDS = 3.0  # for giving the leases back before the process ends

_log = logging.getLogger(__name__)

# For the signal handlers, which are given nothing and must take no lock: this process's WorkController, and how long a stop may take.
_worker: Any = None
_patience_seconds = 30


def remember_worker(sender: Any, **_: Any) -> None:  # noqa: ANN401 - Celery's object
    """Keep what the signal handlers need. A stop may take a lease's time: after it a task has nothing left that it may do."""
    global _worker, _patience_seconds  # noqa: PLW0603 - one worker a process
    stopping.clear()  # of a worker that ran in this process before (tests)
    _worker = sender
    _patience_seconds = resources.settings().lease_seconds


def release_child(**_: Any) -> None:  # noqa: ANN401 - Celery's objects
    """Give a prefork child's leases back, where it was told to die in mid-task (second signal, revoke, cold shutdown).

    billiard turns its SIGTERM into a SystemExit inside the task and comes here on its way out; a handler of ours it would replace.
    """
    resources.release_leases()
    resources.close()


class StopStep(bootsteps.StartStopStep):  # type: ignore[misc] # celery has no types
    """Raises the flag at every kind of stop, remote ``control shutdown`` included, before Celery waits for the pool."""

    requires = ("celery.worker.components:Pool",)

    def close(self, worker: Any) -> None:  # noqa: ANN401 - Celery's own signature
        """Ask the tasks to end."""
        stopping.set()
        _limit_stop()
        _log.info("worker %s stops: its tasks end and hand back the rest", worker.hostname, extra={"action": "worker_stopping"})


def begin_stop(**_: Any) -> None:  # noqa: ANN401 - Celery's objects
    """On the first signal: ask the tasks to end, and let a second signal end the process, which Celery would ignore.

    Runs inside Celery's signal handler: no logging, no locks, no threads.
    """
    stopping.set()
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    _limit_stop()


def _limit_stop() -> None:
    """Bound the stop by the kernel's alarm: a broker that is silent while Celery says goodbye to it would hold it up without end."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGALRM) is not _leave:
        signal.signal(signal.SIGALRM, _leave)
        signal.alarm(_patience_seconds)


def _leave(signum: int, _frame: FrameType | None) -> None:
    """End this process at once, and its pool's children, after giving back the leases."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the kernel's own way out, whatever lock the rest may meet
    signal.alarm(int(3 * RELEASE_SECONDS))
    os.write(2, b"rekey: not waiting for the tasks any longer: giving their leases back\n")
    children = _children()
    for pid in children:
        _kill(pid)
    _release()
    end = time.monotonic() + RELEASE_SECONDS
    while time.monotonic() < end and any(_is_there(pid) for pid in children):
        time.sleep(0.05)
    os._exit(128 + signum)


def _release() -> None:
    """Give the leases back in a thread of its own: the one that the signal interrupted may hold any lock that this needs."""
    release = threading.Thread(target=resources.release_leases, daemon=True)
    release.start()
    release.join(RELEASE_SECONDS)


def _children() -> list[int]:
    pool = getattr(_worker, "pool", None)
    pids = pool.info.get("processes") if pool is not None else None
    return [pid for pid in pids or () if pid != os.getpid()]  # the solo pool names its own process


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return


def _is_there(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return False


signals.worker_init.connect(remember_worker)
signals.worker_shutting_down.connect(begin_stop)
signals.worker_process_shutdown.connect(release_child)
celery.steps["worker"].add(StopStep)
