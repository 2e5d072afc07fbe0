"""The commands on a terminal: what cannot be taken back is asked for with its counts, and long commands show bars."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.terminal import typed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.acceptance.deployment import Deployment

DONE, ERROR, FINDINGS = 0, 1, 3


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
