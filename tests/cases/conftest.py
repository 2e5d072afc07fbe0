"""Worlds for the cases: both kinds of store in memory; the real servers are asked for by name."""

from __future__ import annotations

import pytest

from tests.worlds import behaviour, no_waiting, world

__all__ = ["behaviour", "database_url", "no_waiting", "world"]


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty database of each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))
