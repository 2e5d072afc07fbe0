"""Fixtures of tests that play the stages on a store of each kind in memory; a folder's conftest.py imports what its tests ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.stages import runner
from app.testing.versions import CONDITIONAL, LIKE_MINIO
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path

    from app.testing import Behaviour

__all__ = ["behaviour", "no_waiting", "world"]

BEHAVIOURS = {"conditional": CONDITIONAL, "like-minio": LIKE_MINIO}


@pytest.fixture(params=BEHAVIOURS)
def behaviour(request: pytest.FixtureRequest) -> Behaviour:
    """How the store behaves: every test that asks for a world runs on both kinds."""
    return BEHAVIOURS[request.param]


@pytest.fixture
def world(tmp_path: Path, behaviour: Behaviour) -> World:
    """One table, one bucket, one run; nothing in them yet."""
    return World(tmp_path, behaviour)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the ledger does not answer, it is asked again at once."""
    monkeypatch.setattr(runner, "GIVE_BACK_SECONDS", 0.0)
