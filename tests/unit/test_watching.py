"""What is shown of a run that goes on, where no terminal is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.cli.words import line, summary
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def report(tmp_path: Path) -> dict[str, Any]:
    """Of a run with one switched asset."""
    world = World(tmp_path)
    world.add(1)
    world.moved()
    return world.report()


def test_line_has_the_rate_of_each_stage_that_moves(report: dict[str, Any]) -> None:
    """While nothing has ended yet, the rate in all is nothing, and says nothing of the copies."""
    shown = line(report, {"copy": 41.4, "rename": 0.2, "delete": 0.0})

    assert "1 copied +41/s | 1 renamed | 0 deleted | 1 open of 1 | 0/s in all" in shown


def test_rollback_is_called_one(report: dict[str, Any]) -> None:
    """Its copies and deletes are the other way round."""
    other = {**report, "kind": "rollback"}

    assert (line(report)[:4], summary(report)[:4]) == ("run ", "Run ")
    assert (line(other)[:9], summary(other)[:9]) == ("rollback ", "Rollback ")
