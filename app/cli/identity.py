"""Who runs a command, for the records of runs and plans."""

from __future__ import annotations

import getpass
import os
import socket

LONGEST = 255  # letters that a record takes


def operator() -> str:
    """Who runs this command, and on which host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"[:LONGEST]
