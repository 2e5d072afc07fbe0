"""The flag that this process's work is to end: read by the stages between two requests.

It lies in memory that forked pool processes share, so that a prefork worker's children see what its main process was told. A
threading.Event would do for the threads pool only: a child gets its own copy of it.
"""

from __future__ import annotations

import mmap
import time

_POLL_SECONDS = 0.05


class StopFlag:
    """A threading.Event's ``set``, ``clear``, ``is_set`` and ``wait``, seen by forked children too."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)  # anonymous and shared: survives fork, not spawn

    def set(self) -> None:
        """Ask all work to end; takes no lock, so that a signal handler may call it."""
        self._memory[0] = 1

    def clear(self) -> None:
        """Take the wish back (tests)."""
        self._memory[0] = 0

    def is_set(self) -> bool:
        """Whether work is to end."""
        return self._memory[0] == 1

    def wait(self, timeout: float) -> bool:
        """Sleep up to *timeout* seconds, less if the flag gets set meanwhile; tells whether it is set."""
        end = time.monotonic() + timeout
        while not self.is_set():
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, _POLL_SECONDS))
        return True


stopping = StopFlag()
