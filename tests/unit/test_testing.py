"""What the in-memory store offers to tests: scripted faults, other people's turns, and time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.errors import (
    ConditionFailedError,
    ExpiredRequestError,
    LockedError,
    MissingObjectError,
    ProofError,
    StoreUnavailableError,
    UnansweredError,
)
from app.object_store import IfAbsent, ObjectAttributes, ObjectInfo
from app.testing import ClockDeadline, Fault, FixedDeadline, InMemoryStore, ManualClock

NOTHING = ObjectAttributes()
LEASE = FixedDeadline()


def _put(store: InMemoryStore, key: str, body: bytes = b"new") -> ObjectInfo:
    return store.put(key, body, NOTHING, condition=None, deadline=LEASE)


def test_refused_request_changes_nothing() -> None:
    """503 says that nothing was done, and the next call goes through."""
    store = InMemoryStore()
    store.faults.add(Fault.slow_down(), on="put")

    with pytest.raises(StoreUnavailableError):
        _put(store, "k")
    assert store.contents() == {}
    _put(store, "k")
    assert store.contents() == {"k": b"new"}


def test_lost_reply_leaves_the_work_done() -> None:
    """The caller does not know, the store does."""
    store = InMemoryStore()
    store.faults.add(Fault.lose_reply(), on="put")

    with pytest.raises(UnansweredError):
        _put(store, "k")
    assert store.contents() == {"k": b"new"}


def test_lost_reply_of_a_refused_request_is_unanswered_too() -> None:
    """Nobody hears of the failed condition."""
    store = InMemoryStore()
    store.app_put("k", b"old")
    store.faults.add(Fault.lose_reply(), on="put")

    with pytest.raises(UnansweredError):
        store.put("k", b"new", NOTHING, condition=IfAbsent(), deadline=LEASE)
    assert store.contents() == {"k": b"old"}


def test_delayed_request_arrives_when_it_is_told() -> None:
    """A request held by a proxy is carried out after others that came later (H2)."""
    store = InMemoryStore()
    store.faults.add(Fault.delay(), on="put")
    with pytest.raises(UnansweredError):
        _put(store, "k", b"first")
    store.app_put("k", b"second")

    assert store.contents() == {"k": b"second"}
    assert store.delayed.pop().deliver() is None
    assert store.contents() == {"k": b"first"}


def test_delayed_request_dies_at_the_end_of_its_signature() -> None:
    """What arrives after its X-Amz-Expires is refused (M2)."""
    clock = ManualClock()
    store = InMemoryStore(clock=clock)
    store.faults.add(Fault.delay(), on="put")
    with pytest.raises(UnansweredError):
        store.put("k", b"late", NOTHING, condition=None, deadline=ClockDeadline(clock, seconds=5))
    clock.advance(6)

    assert type(store.delayed.pop().deliver()) is ExpiredRequestError
    assert store.contents() == {}


def test_request_that_was_held_up_before_arriving_is_expired() -> None:
    """A worker that is stopped between signing and sending does no harm afterwards."""
    clock = ManualClock()
    store = InMemoryStore(clock=clock, on_call=lambda *_: clock.advance(11))

    with pytest.raises(ExpiredRequestError):
        store.put("k", b"late", NOTHING, condition=None, deadline=ClockDeadline(clock, seconds=60))
    assert store.contents() == {}


def test_others_act_before_a_request_arrives() -> None:
    """A scheduler may let the application write between the signing and the arrival."""
    store = InMemoryStore()
    store.on_call = lambda _name, key: store.app_put(key, b"theirs")

    with pytest.raises(ConditionFailedError):
        store.put("k", b"ours", NOTHING, condition=IfAbsent(), deadline=LEASE)
    assert store.contents() == {"k": b"theirs"}


def test_others_act_between_the_keys_of_a_delete() -> None:
    """DeleteObjects is no transaction."""
    turns: list[tuple[str, str, int]] = []
    store = InMemoryStore()
    objects = [store.app_put(key, b"") for key in "abc"]
    store.on_call = lambda name, key: turns.append((name, key, len(store.contents())))
    store.delete(objects, deadline=LEASE)

    assert turns == [("delete", "a", 3), ("delete", "b", 2), ("delete", "c", 1)]


def test_fault_waits_for_its_turn() -> None:
    """The second GET of one key fails, twice, and nothing else does."""
    store = InMemoryStore()
    store.app_put("a", b"")
    store.app_put("b", b"")
    store.faults.add(Fault.not_found(), on="stat", key="a", skip=1, times=2)

    def is_there(key: str) -> bool:
        try:
            return store.stat(key).key == key
        except MissingObjectError:
            return False

    assert [is_there(key) for key in "abaaba"] == [True, True, False, False, True, True]


def test_fault_without_end_lasts_until_it_is_cleared() -> None:
    """A policy is there until somebody changes it."""
    store = InMemoryStore()
    info = store.app_put("a", b"")
    store.faults.add(Fault.refuse(LockedError), on="delete_key", key="a", times=None)

    refusals = [store.delete([info], deadline=LEASE)["a"] for _ in range(3)]
    store.faults.clear()

    assert [type(refusal) for refusal in refusals] == [LockedError] * 3
    assert store.delete([info], deadline=LEASE) == {"a": None}


def test_answer_of_a_fault_comes_after_the_work() -> None:
    """A copy whose answer has no ETag is there and not proved."""
    store = InMemoryStore()
    source = store.app_put("a", b"x")
    store.faults.add(Fault.answer(ProofError), on="copy")

    with pytest.raises(ProofError):
        store.copy(source, "b", condition=None, deadline=LEASE)
    assert store.contents() == {"a": b"x", "b": b"x"}


def test_application_mends_headers_and_tags_as_on_s3() -> None:
    """A self-copy keeps the ETag and moves the time on; tags move neither (M7)."""
    clock = ManualClock()
    store = InMemoryStore(clock=clock)
    first = store.app_put("a", b"x", {"content-type": "text/x"})
    clock.advance(2)
    store.app_set_tags("a", "k=v")
    tagged = store.stat("a")
    mended = store.app_set_headers("a", {"content-type": "image/png"})

    assert tagged == first
    assert (mended.etag, mended.last_modified) == (first.etag, first.last_modified + 2)
    assert store.tags("a") == "k=v"


def test_store_clock_can_be_set() -> None:
    """The store's time is its own."""
    store = InMemoryStore()
    before = store.store_time()
    store.skew = -3600

    assert store.store_time() == before - 3600


def test_boot_clock_only_goes_forward() -> None:
    """Like the real one."""
    with pytest.raises(ValueError, match="forward"):
        ManualClock().advance(-1)


def test_request_is_one_step_to_threads() -> None:
    """Of many threads that write a free key under If-None-Match exactly one gets through, as at a real store."""
    store = InMemoryStore()

    def attempt(number: int) -> bool:
        try:
            store.put(f"k{number // 8}", b"", NOTHING, condition=IfAbsent(), deadline=LEASE)
        except ConditionFailedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(400)))

    assert sum(won) == 50
