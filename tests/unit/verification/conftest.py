"""A world whose table and bucket are verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.testing.versions import CONDITIONAL, LIKE_MINIO
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path

    from app.testing import Behaviour

BEHAVIOURS = {"conditional": CONDITIONAL, "like-minio": LIKE_MINIO}


@pytest.fixture(params=BEHAVIOURS)
def behaviour(request: pytest.FixtureRequest) -> Behaviour:
    """How the store behaves."""
    return BEHAVIOURS[request.param]


@pytest.fixture
def world(tmp_path: Path, behaviour: Behaviour) -> World:
    """One table and one bucket, with a journal; nothing in them yet."""
    return World(tmp_path, behaviour, settings={"journal": True, "grace_seconds": 0})
