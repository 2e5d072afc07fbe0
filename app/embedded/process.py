"""Processes told apart for certain: a pid is used again once its process has gone, a pid with its start time is not. Linux only."""

from __future__ import annotations

import os
import select
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """One process of one boot of this machine."""

    pid: int
    started: str  # the boot's id and the clock ticks from there to the start

    def is_alive(self) -> bool:
        """Whether this very process still runs (one that has ended and waits for its parent does not)."""
        with _open(self) as handle:
            return handle is not None and not _has_ended(handle, 0)

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to this process and no other; False if it has gone."""
        with _open(self) as handle:
            if handle is None:
                return False
            try:
                signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                return False
            return True

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended; False if it runs on after *seconds*. It need not be our child."""
        with _open(self) as handle:
            return handle is None or _has_ended(handle, seconds)

    def end(self, number: signal.Signals = signal.SIGTERM, *, grace_seconds: float) -> bool:
        """Ask it to end, insist after *grace_seconds*; False if it had gone before."""
        if not self.is_alive() or not self.send(number):
            return False
        if not self.wait(grace_seconds):
            self.send(signal.SIGKILL)
            self.wait(grace_seconds)
        return True


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of the process that has *pid* now, None where there is none."""
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in brackets, may hold anything, brackets and blanks too; the start is the 22nd field, the 20th after the name.
    ticks = stat.rpartition(b")")[2].split()[19].decode()
    boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ProcessIdentity(pid=pid, started=f"{boot}:{ticks}")


@contextmanager
def _open(process: ProcessIdentity) -> Iterator[int | None]:
    """A handle to the process, None if it has gone. Compared after it is open: the handle is then of the very process compared."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield handle if identify(process.pid) == process else None
    finally:
        os.close(handle)


def _has_ended(handle: int, seconds: float) -> bool:
    poll = select.poll()  # select.select takes no handle above 1023
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
