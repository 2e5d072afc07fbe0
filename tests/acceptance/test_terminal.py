"""The commands on a terminal: what cannot be taken back is asked for with its counts, and long commands show bars."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.deployment import COMMAND_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.acceptance.deployment import Deployment

DONE, ERROR, FINDINGS = 0, 1, 3
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


def state_of(deployment: Deployment, named: Mapping[str, str]) -> tuple[str, int]:
    """The newest run's state, and how many old objects it holds."""
    report = deployment.status(**named)
    return report["state"], report["kept"]


@pytest.mark.timeout(300)
def test_cancel_asks_with_counts_and_a_no_changes_nothing(deployment: Deployment) -> None:
    """Nobody works on this run: it rests as it is."""
    service, named = deployment.service()
    service.fill(3)
    assert deployment.rekey("enqueue", **named).status == DONE
    refused, asked = typed(deployment, "cancel", answer="n", **named)
    still = state_of(deployment, named)
    agreed, _ = typed(deployment, "cancel", answer="y", **named)

    assert (refused, still[0]) == (ERROR, "running")
    assert "0 of 0 assets are moved" in asked
    assert "nothing was done" in asked
    assert (agreed, state_of(deployment, named)[0]) == (DONE, "cancelled")


@pytest.mark.timeout(400)
def test_release_and_rollback_ask_with_counts(working: Deployment) -> None:
    """What is deleted for good, and what cannot be undone, is said before the question."""
    service, named = working.service()
    assets = service.fill(6)
    assert working.rekey("enqueue", "--watch", "--hold", seconds=200, **named).status == DONE
    kept, asked = typed(working, "release", "--max-deletes", "2", answer="n", **named)
    before = state_of(working, named)
    released, _ = typed(working, "release", "--max-deletes", "2", answer="y", **named)
    working.rekey("status", "--watch", seconds=120, **named)
    after = state_of(working, named)
    stayed, plan = typed(working, "rollback", answer="n", **named)
    rows = service.table.keys()
    back, _ = typed(working, "rollback", "--watch", answer="y", seconds=200, **named)

    assert (kept, before) == (ERROR, ("finished", 6))
    assert "Release 2 of 6 held old objects" in asked
    assert (released, after) == (DONE, ("finished", 4))
    assert stayed == ERROR
    assert "4 by switching the row" in plan
    assert "2 by copying back" in plan
    assert "what cannot be undone" in plan
    assert rows == {asset.id: asset.new_key for asset in assets}
    assert (back, service.table.keys()) == (DONE, {asset.id: asset.old_key for asset in assets})


@pytest.mark.timeout(400)
def test_plan_and_watching_show_bars(working: Deployment) -> None:
    """A bar a step, and one a stage, each with its count."""
    service, named = working.service()
    service.fill(50)
    planned, steps = typed(working, "plan", "--thorough", **named)
    watched, stages = typed(working, "enqueue", "--watch", seconds=200, **named)

    assert (planned, watched) == (DONE, DONE)
    for step in ("reading rows", "matching with the bucket", "looking at objects"):
        assert re.search(rf"{step} .*\b50/50", steps), steps
    assert "to move                      50" in steps
    for stage in ("copied", "renamed", "deleted"):
        assert re.search(rf"{stage} .*\b50 ", stages), stages
