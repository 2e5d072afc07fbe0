"""What the store has refused for now is sent again, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from app.s3_http import Answer
from app.s3_patience import PatientTransport
from app.spacing import spaced
from app.testing import ManualClock


class Script:
    """Answers with these statuses, the last one for ever."""

    host = "store.example"

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.sent: list[tuple[str, str]] = []
        self.timeouts: list[float] = []

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"", *, timeout: float, **_: object) -> Answer:  # noqa: ARG002 - as a transport's
        """The next answer."""
        self.sent.append((method, target))
        self.timeouts.append(timeout)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return Answer(status=status, headers={}, body=b"", sent_at=0.0, received_at=0.0)

    def begin(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"", *, timeout: float) -> BegunByScript:
        """Sent now, answered by the same script."""
        return BegunByScript(self.send(method, target, headers, body, timeout=timeout))

    def close(self) -> None:
        """Nothing to close."""


@dataclass
class BegunByScript:
    """A request whose answer is there."""

    there: Answer
    sent_at: float = 0.0
    dropped: bool = False

    def answer(self, *, timeout: float, **_: object) -> Answer:  # noqa: ARG002 - as a transport's
        """That answer."""
        return self.there

    def drop(self) -> None:
        """Nobody wants it."""
        self.dropped = True


@pytest.mark.parametrize(
    ("statuses", "answer", "sent"),
    [((200,), 200, 1), ((503, 429, 200), 200, 3), ((503,), 503, 6), ((500,), 500, 1), ((412, 200), 412, 1)],
)
def test_only_what_was_refused_for_now_is_sent_again(statuses: tuple[int, ...], answer: int, sent: int) -> None:
    """The same request; at the end the refusal itself is the answer. Each refusal is counted, the last one by who gets it."""
    waits: list[float] = []
    refused: list[int] = []
    script = Script(*statuses)
    transport = PatientTransport(script, tries=6, wait=waits.append)
    transport.refused = lambda found: refused.append(found.status)
    found = transport.send("PUT", "/bucket/key", {}, timeout=60.0)

    assert (found.status, script.sent) == (answer, [("PUT", "/bucket/key")] * sent)
    assert len(waits) == len(refused) == sent - 1
    assert sum(waits) < 4


@pytest.mark.parametrize(("statuses", "answer", "sent"), [((200,), 200, 1), ((503, 200), 200, 2), ((503,), 503, 6), ((404,), 404, 1)])
def test_refused_request_that_was_begun_is_sent_again_when_its_answer_is_taken(statuses: tuple[int, ...], answer: int, sent: int) -> None:
    """As any other; the refusals but the last are counted here."""
    waits: list[float] = []
    script = Script(*statuses)
    begun = PatientTransport(script, tries=6, wait=waits.append).begin("GET", "/bucket/key", {}, timeout=60.0)

    assert len(script.sent) == 1
    assert (begun.answer(timeout=60.0).status, script.sent) == (answer, [("GET", "/bucket/key")] * sent)
    assert len(waits) == sent - 1


def test_request_has_no_more_time_than_it_had() -> None:
    """Its signature ends, and its lease: what is refused near that is not sent again, and what is sent again gets what is left."""
    clock = ManualClock()
    script = Script(503)
    PatientTransport(script, tries=100, wait=clock.advance, now=clock.boot).send("PUT", "/bucket/key", {}, timeout=3.0)

    assert script.timeouts[0] == 3.0
    assert script.timeouts == sorted(script.timeouts, reverse=True)
    assert script.timeouts[-1] >= 1.0
    assert clock.boot() - ManualClock().boot() <= 2.0


def test_requests_of_a_slowed_thread_go_some_way_apart() -> None:
    """Out of the time that each has; what is sent again has its own pause, and is not counted; another thread's are sent as they come."""
    clock, waits = ManualClock(), list[float]()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    script = Script(200, 200, 503, 200)
    transport = PatientTransport(script, tries=4, wait=wait, now=clock.boot)
    with spaced(0.5) as sent:
        for _ in range(3):
            transport.send("HEAD", "/bucket/key", {}, timeout=5.0)
    transport.send("HEAD", "/bucket/key", {}, timeout=5.0)

    assert sent.requests == 3
    assert waits[:2] == [0.5, 0.5]
    assert len(waits) == 3, "and the pause after the refusal"
    assert script.timeouts[:3] == [5.0, 4.5, 4.5]


def test_request_that_must_be_answered_soon_does_not_wait() -> None:
    """What is left of a lease is not spent on being polite."""
    clock, waits = ManualClock(), list[float]()
    transport = PatientTransport(Script(200), tries=4, wait=waits.append, now=clock.boot)
    with spaced(0.9):
        for _ in range(2):
            transport.send("PUT", "/bucket/key", {}, timeout=1.0)

    assert waits == []
