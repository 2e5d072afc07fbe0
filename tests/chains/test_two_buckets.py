"""Whole chains from one bucket into another (REKEY_TARGET_BUCKET): the same tests as in one bucket, and what is peculiar to two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chains import test_there_and_back as there_and_back

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chains.live import Chain


@pytest.fixture
def split() -> bool:
    """All of them."""
    return True


def test_odd_old_keys(make_chain: Callable[..., Chain]) -> None:
    """As in one bucket."""
    there_and_back.test_assets_under_odd_old_keys_go_there_and_back(make_chain)


def test_odd_new_keys(make_chain: Callable[..., Chain]) -> None:
    """As in one bucket."""
    there_and_back.test_assets_get_odd_new_keys_and_give_them_back(make_chain, through=False)
