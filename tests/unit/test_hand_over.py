"""What tasks get done is gathered into messages, and nothing waits for company that does not come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.pipeline import BY_NAME
from tasks import hand_over
from tasks.hand_over import HandOver
from tests.builders import World

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from app.ledger.records import Run
    from app.pipeline import MoveStage

RENAME = BY_NAME["rename"]


class Sent:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.messages: list[list[int]] = []

    def __call__(self, _run: Run, _stage: MoveStage, ids: Sequence[int]) -> None:
        """Keep one message."""
        self.messages.append(list(ids))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run to hand over moves of."""
    return World(tmp_path).run


def test_last_task_sends_all_there_is_at_once(run: Run) -> None:
    """A small run does not wait: nobody else would come."""
    sent = Sent()
    gathering = HandOver(sent)
    with gathering.working():
        with gathering.working():
            gathering.add(run, RENAME, [2], size=10)
        assert sent.messages == []
        gathering.add(run, RENAME, [1], size=10)

    assert sent.messages == [[1, 2]]


def test_full_block_goes_while_others_still_work(run: Run) -> None:
    """Neighbours share a message, in whatever order they got done."""
    sent = Sent()
    gathering = HandOver(sent)
    with gathering.working():
        with gathering.working():
            gathering.add(run, RENAME, [7, 1, 5], size=3)
        assert sent.messages == []
        with gathering.working():
            gathering.add(run, RENAME, [3, 2], size=3)
        assert sent.messages == [[1, 2, 3]]

    assert sent.messages == [[1, 2, 3], [5], [7]]


def test_block_that_nothing_comes_to_goes_with_the_next_task_that_ends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its other moves were parked, or are another worker's."""
    monkeypatch.setattr(hand_over, "IDLE_SECONDS", -1.0)
    sent = Sent()
    gathering = HandOver(sent)
    with gathering.working():
        with gathering.working():
            gathering.add(run, RENAME, [1], size=2)
        assert sent.messages == [[1]]

    assert sent.messages == [[1]]
