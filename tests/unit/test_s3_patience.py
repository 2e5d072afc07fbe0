"""A command sends again what the store has refused for now, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from app.s3_http import Answer
from app.s3_patience import TRIES, PatientTransport


class Script:
    """Answers with these statuses, the last one for ever."""

    host = "store.example"

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.sent: list[tuple[str, str]] = []

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"", **_: object) -> Answer:  # noqa: ARG002 - as a transport's
        """The next answer."""
        self.sent.append((method, target))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return Answer(status=status, headers={}, body=b"", sent_at=0.0, received_at=0.0)

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize(
    ("statuses", "answer", "sent"),
    [((200,), 200, 1), ((503, 429, 200), 200, 3), ((503,), 503, TRIES), ((500,), 500, 1), ((412, 200), 412, 1)],
)
def test_only_what_was_refused_for_now_is_sent_again(statuses: tuple[int, ...], answer: int, sent: int) -> None:
    """The same request, within the seconds that its signature lives; at the end the refusal itself is the answer."""
    waits: list[float] = []
    script = Script(*statuses)
    found = PatientTransport(script, wait=waits.append).send("PUT", "/bucket/key", {}, timeout=1.0)

    assert (found.status, script.sent) == (answer, [("PUT", "/bucket/key")] * sent)
    assert len(waits) == sent - 1
    assert sum(waits) < 4
