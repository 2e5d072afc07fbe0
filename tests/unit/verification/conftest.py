"""A world whose table and bucket are verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.builders import World
from tests.worlds import behaviour

if TYPE_CHECKING:
    from pathlib import Path

    from app.testing import Behaviour

__all__ = ["behaviour", "world"]


@pytest.fixture
def world(tmp_path: Path, behaviour: Behaviour) -> World:
    """One table and one bucket, with a journal; nothing in them yet."""
    return World(tmp_path, behaviour, settings={"journal": True, "grace_seconds": 0})
