"""The bound on bytes held at once."""

from __future__ import annotations

import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from app.byte_budget import ByteBudget, SharedOut

TURNS = 40


def test_budget_is_never_exceeded_by_many_threads() -> None:
    """However threads come and go, the sum stays within the limit and ends at nothing."""
    budget = ByteBudget(100)
    highest = 0
    lock = threading.Lock()

    def work(seed: int) -> None:
        nonlocal highest
        chance = random.Random(seed)
        for _ in range(20):
            with budget.hold(chance.randrange(0, 60)):
                with lock:
                    highest = max(highest, budget.held)
                time.sleep(0.0002)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert 40 < highest <= 100
    assert budget.held == 0


def test_body_above_the_limit_is_admitted_alone() -> None:
    """One giant goes through when nobody else holds anything."""
    budget = ByteBudget(10)
    with budget.hold(25):
        assert budget.held == 25
        assert not _admitted(budget, 1)
    assert _admitted(budget, 1)


def test_large_body_is_not_overtaken() -> None:
    """A body that waits is admitted before those that asked later, although they would fit."""
    budget = ByteBudget(10)
    order: list[str] = []

    def ask(name: str, size: int) -> None:
        with budget.hold(size):
            order.append(name)

    with budget.hold(5):
        large = threading.Thread(target=ask, args=("large", 9))
        large.start()
        time.sleep(0.05)
        small = threading.Thread(target=ask, args=("small", 1))
        small.start()
        time.sleep(0.05)
        before = list(order)
    large.join()
    small.join()

    assert (before, order) == ([], ["large", "small"])


def test_share_does_not_wait_for_more_while_it_holds_some() -> None:
    """Two holders that both ask for a second body cannot wait for each other."""
    budget = ByteBudget(10)
    with budget.share() as one, budget.share() as other:
        one(5)
        other(5)
        one(5)
        other(5)

        assert budget.held == 20
    assert budget.held == 0


@pytest.mark.parametrize(("first", "room"), [(5, True), (6, False)])
def test_who_has_several_shares_ends_the_others_before_a_wait(first: int, room: bool) -> None:  # noqa: FBT001 - a case
    """It would wait for itself, or for somebody who waits for it; where there is room they may stay."""
    budget = ByteBudget(10)
    with ExitStack() as others:
        others.enter_context(budget.share())(first)
        ended: list[int] = []

        def make_room() -> None:
            ended.append(budget.held)
            others.close()

        with SharedOut(budget, make_room).share() as admit:
            admit(5)

            assert budget.held == (10 if room else 5)
        assert ended == ([] if room else [6])


def test_those_who_have_several_shares_never_wait_for_each_other() -> None:
    """Room that is seen and gone a moment later is waited for with nothing in hand, too."""
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for turn in range(TURNS):
            budget = ByteBudget(10)
            threads = [threading.Thread(target=_take_shares, args=(budget, turn * 8 + number), daemon=True) for number in range(8)]
            for thread in threads:
                thread.start()
            end = time.monotonic() + 20
            for thread in threads:
                thread.join(timeout=max(0.0, end - time.monotonic()))

            assert not any(thread.is_alive() for thread in threads)
            assert budget.held == 0
    finally:
        sys.setswitchinterval(switch)


def _take_shares(budget: ByteBudget, seed: int) -> None:
    """Take four shares, a hundred times, as a task does whose copies are under way together."""
    chance = random.Random(seed)
    for _ in range(100):
        with ExitStack() as shares:
            for _ in range(4):
                share = SharedOut(budget, shares.close).share()
                share.__enter__()(chance.randrange(1, 7))
                shares.push(share)


def test_share_gives_back_what_it_took_when_its_block_fails() -> None:
    """An error on the way leaks no budget."""
    budget = ByteBudget(10)

    def fail() -> None:
        with budget.share() as admit:
            admit(5)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert budget.held == 0


def _admitted(budget: ByteBudget, size: int) -> bool:
    """Whether a body of *size* gets in at once."""
    done = threading.Event()

    def ask() -> None:
        with budget.hold(size):
            done.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return done.wait(0.1)
