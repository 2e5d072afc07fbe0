"""How many messages a worker takes from the broker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from workers import unacknowledged
from workers.unacknowledged import MOST_WAITING, QoS


@pytest.mark.parametrize(
    ("queues", "slots", "waiting", "takes"),
    [
        (["copy"], 100, 0, True),
        (["copy"], 100, MOST_WAITING - 1, True),
        (["copy"], 100, MOST_WAITING, False),
        (["copy", "rename"], 100, MOST_WAITING, True),
        (["copy"], 2, 0, False),
    ],
)
def test_worker_takes_no_message_while_a_line_of_its_tasks_waits(
    queues: list[str],
    slots: int,
    waiting: int,
    takes: bool,  # noqa: FBT001 - a case
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Others may have room for it; two messages are in hand here."""
    channel: Any = SimpleNamespace(active_queues=queues, do_restore=False)
    qos = QoS(channel, prefetch_count=slots)  # type: ignore[no-untyped-call] # kombu's types are not complete
    qos._delivered.update({"first": None, "second": None})
    monkeypatch.setattr(unacknowledged, "waiting_tasks", lambda: waiting)

    assert qos.can_consume() is takes
