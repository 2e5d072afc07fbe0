"""The way out of the demonstration when a lock bars the usual one."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

PROGRAM = """
import os, signal, sys, threading
from pathlib import Path
from app.demo import interrupts
signal.signal(signal.SIGTERM, lambda number, frame: None)  # swallowed
interrupts.watch([signal.SIGTERM], lambda: Path(sys.argv[1]), keep=False, patience=0.2)
os.kill(os.getpid(), signal.SIGTERM)
lock = threading.Lock(); lock.acquire(); lock.acquire()
"""


def test_interrupt_ends_a_process_that_is_stuck(tmp_path: Path) -> None:
    """With the signal's status, and without its folder."""
    folder = tmp_path / "private"
    folder.mkdir()

    status = subprocess.run([sys.executable, "-c", PROGRAM, str(folder)], check=False, timeout=30).returncode

    assert status == 143
    end = time.monotonic() + 20
    while folder.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not folder.exists()
