"""What a worker asks of Python's collector of garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from workers import memory


@pytest.fixture
def collector() -> Iterator[None]:
    """The collector as the other tests have it, afterwards."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("collector")
def test_claim_of_a_thousand_moves_is_not_walked_through_again_and_again() -> None:
    """Ten thousand new objects start no collection; what was there at the start is looked through by none."""
    memory.collect_less_often()
    before = [generation["collections"] for generation in gc.get_stats()]

    kept = [[number] for number in range(10_000)]

    assert [generation["collections"] for generation in gc.get_stats()] == before
    assert gc.get_freeze_count() > len(kept)
    assert gc.isenabled()
