"""A real browser that looks at a page."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

BROWSER = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
NO_NETWORK = ("--proxy-server=127.0.0.1:1", "--host-resolver-rules=MAP * ~NOTFOUND")


def browse(folder: Path, *flags: str) -> str:
    """The browser's own output for a page."""
    if BROWSER is None:
        pytest.skip("no chromium on the PATH (apt-get install chromium)")
    fixed = (
        "--headless",
        "--disable-gpu",
        "--hide-scrollbars",
        "--no-first-run",
        "--disable-extensions",
        "--disable-background-networking",
    )
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    done = subprocess.run(
        [BROWSER, *fixed, *root, f"--user-data-dir={folder}/profile", *flags], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
