"""The rules by which a run gives way: rates, the guard against failures, the hours in which it may work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.throttle.aimd import KEPT, LEAST, LIFTED_AFTER, Pace, pressed, relieved
from app.throttle.guard import Seen, added, is_too_much
from app.throttle.window import Window

MINUTES = st.integers(0, 24 * 60 - 1)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe"])
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
TICKS = st.lists(st.tuples(st.booleans(), st.floats(0, 5000)), max_size=60)
SEEN = st.lists(st.tuples(st.integers(0, 300), st.floats(0, 1)), max_size=40)


def after(ticks: list[tuple[bool, float]], *, seed: int) -> list[Pace]:
    """The paces of a stage, tick by tick; each with what came through."""
    chance, pace, seen = Random(seed), Pace(), [Pace()]
    for under_pressure, done in ticks:
        pace = (pressed if under_pressure else relieved)(pace, done=done, chance=chance)
        seen.append(pace)
    return seen


@given(TICKS, st.integers())
def test_pressure_always_lowers_the_rate_and_never_ends_the_work(ticks: list[tuple[bool, float]], seed: int) -> None:
    """Down to one a second at least; without pressure it never falls, and there is no bound before there was any."""
    paces = after(ticks, seed=seed)
    for (under_pressure, _), before, now in zip(ticks, paces, paces[1:], strict=False):
        assert now.rate is None or now.rate >= LEAST
        if under_pressure:
            assert now.rate is not None
            assert before.rate is None or now.rate <= max(LEAST, KEPT[1] * before.rate)
        elif before.rate is None:
            assert now == Pace()
        else:
            assert now.rate is None or now.rate >= before.rate


@given(st.integers(2, 3000), st.integers())
def test_rate_stays_near_what_the_store_bears(capacity: int, seed: int) -> None:
    """A store that asks to slow down above its capacity: after a while most of it is used, and it is never passed by far."""
    chance, pace, used = Random(seed), Pace(), []
    for _ in range(400):
        wanted = 4.0 * capacity if pace.rate is None else pace.rate
        done = min(wanted, capacity)
        pace = (pressed if wanted > capacity else relieved)(pace, done=done, chance=chance)
        used.append(done)
        assert pace.rate is not None
        assert pace.rate <= max(2.0 * capacity, capacity + 3)
    settled = used[100:]

    assert sum(settled) / len(settled) >= 0.6 * capacity or capacity < 4
    assert min(settled) >= min(capacity, max(LEAST, 0.45 * capacity))


@given(st.floats(1, 5), st.integers())
def test_small_rate_grows_though_whole_moves_are_done_of_it(rate: float, seed: int) -> None:
    """Of 1.9 a second one is done, and it is the rate that holds the stage back."""
    chance, pace = Random(seed), Pace(rate=rate, ceiling=rate)
    for _ in range(10):
        assert pace.bound is not None
        pace = relieved(pace, done=float(pace.bound), chance=chance)

    assert pace.rate is not None
    assert pace.rate >= rate + 5


@given(st.floats(1, 1000), st.integers())
def test_bound_that_binds_nothing_is_lifted(rate: float, seed: int) -> None:
    """The stage does less than it may, without pressure, for a minute of ticks."""
    paces = after([(True, rate), *[(False, 0.0)] * LIFTED_AFTER], seed=seed)

    assert paces[1].rate is not None
    assert paces[-2].rate is not None
    assert paces[-1] == Pace()


@given(SEEN, st.integers(1, 100), st.integers(1, 1000))
def test_guard_acts_on_the_share_of_the_last_outcomes(shares: list[tuple[int, float]], percent: int, last: int) -> None:
    """Never below its share of so many; always once each of so many has failed; what lies before them is forgotten."""
    window: list[Seen] = []
    for outcomes, share in shares:
        new = Seen(outcomes=outcomes, failed=int(outcomes * share))
        window = added(window, new, last=last)
        counted, failed = sum(seen.outcomes for seen in window), sum(seen.failed for seen in window)

        assert counted - window[0].outcomes < last if window else counted == 0
        assert is_too_much(window, percent=percent, last=last) is (failed > 0 and failed / max(counted, last) * 100 >= percent - 1e-9)
    assert is_too_much([*window, Seen(outcomes=10 * last, failed=10 * last)][-1:], percent=percent, last=last)


def test_fifty_failures_of_the_last_thousand_are_too_many() -> None:
    """As soon as there are so many; one fewer is not, and fifty in ten thousand neither."""
    assert is_too_much([Seen(outcomes=50, failed=50)], percent=5, last=1000)
    assert not is_too_much([Seen(outcomes=49, failed=49)], percent=5, last=1000)
    assert not is_too_much([Seen(outcomes=10_000, failed=50)], percent=5, last=1000)
    assert is_too_much([Seen(outcomes=600, failed=25), Seen(outcomes=400, failed=25)], percent=5, last=1000)


@given(MINUTES, MINUTES, ZONES, MOMENTS)
def test_window_is_open_from_its_beginning_to_its_end(start: int, end: int, zone: str, now: datetime) -> None:
    """By the clock on the wall there; and what it says of its opening is so, clocks set forward and back included."""
    if start == end:
        return
    window = Window.parse(f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02} {zone}")
    opens = window.opens_at(now)

    assert Window.parse(str(window)) == window
    assert now < opens <= now + timedelta(days=2)
    assert window.is_open(opens)
    if not window.is_open(now):
        minutes = int((opens - now).total_seconds() // 60)
        assert not any(window.is_open(now + timedelta(minutes=each)) for each in range(min(minutes, 200)))


@pytest.mark.parametrize(
    ("window", "now", "opens"),
    [
        ("01:01-00:00 America/St_Johns", "2032-11-07T04:30+00:00", "2032-11-07T01:01-03:30"),  # in the hour that comes twice
        ("00:30-01:30 Europe/London", "2026-10-25T00:45+00:00", "2026-10-25T01:00+00:00"),
        ("00:30-01:30 America/New_York", "2026-11-01T05:45+00:00", "2026-11-01T01:00-05:00"),  # opened by the clock that is set back
        ("02:30-06:00 Europe/Berlin", "2026-03-29T00:30+00:00", "2026-03-29T03:00+02:00"),  # whose beginning there is not that day
    ],
)
def test_window_opens_when_the_clock_on_the_wall_says_so(window: str, now: str, opens: str) -> None:
    """On the nights on which clocks are set forward or back."""
    found = Window.parse(window).opens_at(datetime.fromisoformat(now))

    assert found.astimezone(UTC) == datetime.fromisoformat(opens)  # in UTC: a time that comes twice equals none of another zone


def test_pace_after_very_many_quiet_ticks_is_a_number() -> None:
    """The doublings of its step end; what is on record of a run of months is no error."""
    pace = relieved(Pace(rate=10.0, ceiling=10.0, quiet=10_000), done=10.0, chance=Random(1))

    assert pace.rate is not None
    assert 10.0 < pace.rate < 1e12
