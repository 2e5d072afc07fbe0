"""Worlds for the cases: both kinds of store in memory; the real servers are asked for by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.stages import runner
from app.testing.versions import CONDITIONAL, LIKE_MINIO
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path

    from app.testing import Behaviour

BEHAVIOURS = {"conditional": CONDITIONAL, "like-minio": LIKE_MINIO}


@pytest.fixture(params=BEHAVIOURS)
def behaviour(request: pytest.FixtureRequest) -> Behaviour:
    """How the store behaves: each case that asks for a world is played on both kinds."""
    return BEHAVIOURS[request.param]


@pytest.fixture
def world(tmp_path: Path, behaviour: Behaviour) -> World:
    """One table, one bucket, one run; nothing in them yet."""
    return World(tmp_path, behaviour)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "GIVE_BACK_SECONDS", 0.0)


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty database of each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))
