"""``python -m app`` is the command ``rekey``."""

from __future__ import annotations

import sys

from app.cli import main

status = main()
# Under -m, CPython dies of SIGINT at its end if an interrupt has once passed through a text that was executed, as dataclasses do when their
# module is imported; the next such text makes it forget.
exec("")  # noqa: S102
sys.exit(status)
