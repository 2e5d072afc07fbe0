"""The store's clock, learned from the Date headers of its answers."""

from __future__ import annotations

from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st

from app.s3_clock import WINDOW_SECONDS, StoreClock

OFFSET = 1_795_000_000.25  # store time minus boot time


def _known(clock: StoreClock, boot: float) -> float:
    now = clock.at(boot)
    assert now is not None
    return now


def _date(store_time: float) -> str:
    return formatdate(int(store_time), usegmt=True)


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=30))
def test_clock_is_never_ahead_of_a_steady_store(answers: list[tuple[float, float, float]]) -> None:
    """However long requests and answers travel, the bound is a lower one, and off by no more than the shortest journey and two cuts."""
    clock = StoreClock()
    boot = 1000.0
    for pause, there, back in answers:
        sent = boot + pause
        boot = sent + there + back
        clock.observe(_date(sent + there + OFFSET), sent_at=sent, received_at=boot)

        assert _known(clock, boot) <= boot + OFFSET + 1e-3


def test_clock_is_close_to_the_store_after_a_few_answers() -> None:
    """Ten quick answers within a second bring the bound within a tenth of a second of the truth."""
    clock = StoreClock()
    for number in range(10):
        sent = 1000 + number / 10
        clock.observe(_date(sent + OFFSET), sent_at=sent, received_at=sent + 0.001)

    assert 0 <= 1001 + OFFSET - _known(clock, 1001) <= 0.1


def test_clock_follows_a_store_that_was_set_back() -> None:
    """From the first answer after the store's clock went back an hour the bound is behind it again."""
    clock = StoreClock()
    clock.observe(_date(1000 + OFFSET), sent_at=1000, received_at=1000.01)
    clock.observe(_date(1001 + OFFSET - 3600), sent_at=1001, received_at=1001.01)

    assert _known(clock, 1001.01) <= 1001.01 + OFFSET - 3600


def test_clock_follows_a_store_that_was_set_forward() -> None:
    """At the latest two windows after the store's clock went forward the bound has followed."""
    clock = StoreClock()
    clock.observe(_date(1000 + OFFSET), sent_at=1000, received_at=1000.01)
    for boot in (1001, 1001 + WINDOW_SECONDS, 1002 + 2 * WINDOW_SECONDS):
        clock.observe(_date(boot + OFFSET + 3600), sent_at=boot, received_at=boot + 0.01)

    assert 0 <= boot + OFFSET + 3600 - _known(clock, boot) <= 1.1


def test_clock_keeps_to_the_slowest_of_several_nodes() -> None:
    """Where nodes disagree by five seconds, a request is dated so that none of them takes it for longer than it should."""
    clock = StoreClock()
    for number in range(20):
        sent = 1000 + number
        behind = 5 if number % 2 else 0
        clock.observe(_date(sent + OFFSET - behind), sent_at=sent, received_at=sent + 0.01)

    assert _known(clock, 1020) <= 1020 + OFFSET - 5


def test_clock_knows_nothing_from_a_broken_date() -> None:
    """A Date that is none teaches nothing."""
    clock = StoreClock()

    assert clock.observe("soon", sent_at=1, received_at=2) is None
    assert clock.at(2) is None


def test_clock_forgets_when_it_is_told() -> None:
    """After the store's clock was set, old answers play no part."""
    clock = StoreClock()
    clock.observe(_date(1000 + OFFSET), sent_at=1000, received_at=1000)
    clock.forget()
    unknown = clock.at(1000)
    clock.observe(_date(1000 + OFFSET - 3600), sent_at=1000, received_at=1000)

    assert unknown is None
    assert 0 <= 1000 + OFFSET - 3600 - _known(clock, 1000) <= 1
