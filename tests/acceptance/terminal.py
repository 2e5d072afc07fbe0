"""A terminal of its own for a command, and somebody who answers what it asks."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.acceptance.deployment import COMMAND_SECONDS

if TYPE_CHECKING:
    from tests.acceptance.deployment import Deployment

_SIGNS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def typed(
    deployment: Deployment, *args: str, answer: str | None = None, seconds: float = COMMAND_SECONDS, **settings: str
) -> tuple[int, str]:
    """``rekey ARGS...`` on a terminal of its own, where *answer* is typed once something is asked; its exit status and the screen."""
    ours, theirs = pty.openpty()
    environ = deployment.environ | settings | {"TERM": "xterm", "COLUMNS": "200", "LINES": "50"}
    process = subprocess.Popen(
        [sys.executable, "-m", "app", *args], stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=deployment.folder
    )
    os.close(theirs)
    screen, end = b"", time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            if not select.select([ours], [], [], 0.1)[0]:
                continue
            try:
                part = os.read(ours, 65536)
            except OSError:  # the terminal is gone: the command has ended
                break
            screen += part
            if answer is not None and b"[y/N]:" in screen:
                os.write(ours, f"{answer}\n".encode())
                answer = None
        return process.wait(timeout=max(1.0, end - time.monotonic())), _SIGNS.sub("", screen.decode())
    finally:
        process.kill()
        process.wait()
        os.close(ours)
