"""Requests, cost and time as estimated."""

from __future__ import annotations

import dataclasses

import pytest

from app.errors import UsageError
from app.ledger.saved_plans import PastRate
from app.plan.estimate import Work, cost, duration, parse_prices, requests, traffic
from app.plan.matching import Sizes
from app.plan.scanning import Locality
from tests.builders import make_settings

DENSE, SPARSE = Locality(), Locality()
DENSE.add([f"up/{number}.png" for number in range(200)])
SPARSE.add([f"{number}/a.png" for number in range(200)])
WORK = Work(
    rows=1000,
    sizes=Sizes(rows=1000, bytes=10_000),
    old_keys=DENSE,
    new_keys=DENSE,
    tagged_share=0.0,
    copies_by_store=False,
)


def test_small_objects_that_go_together_take_a_get_each_and_a_put_for_fifty() -> None:
    """No HEAD of theirs comes first; of the others one does."""
    work = dataclasses.replace(
        WORK, sizes=Sizes(rows=1000, bytes=10_000, small=950, bytes_small=1900), copies_by_store=True, heads_first=True
    )
    alone, together = (requests(dataclasses.replace(work, by_snowballs=by), make_settings(grace_seconds=0)) for by in (False, True))

    assert (alone["PUT"], alone["GET"], alone["HEAD"]) == (1000, 0, 1000)
    assert (together["PUT"], together["GET"], together["HEAD"]) == (50 + 19, 950, 50)
    assert traffic(dataclasses.replace(work, by_snowballs=True))["bytes_read"] == 1900
    assert traffic(work)["bytes_read"] == 0


def test_small_objects_among_many_large_ones_go_alone() -> None:
    """As the copy stage decides it: together they would keep the large ones waiting."""
    sizes = Sizes(rows=1000, bytes=10**9, small=900, bytes_small=1800)
    work = dataclasses.replace(WORK, sizes=sizes, copies_by_store=True, heads_first=True, by_snowballs=True)

    found = requests(work, make_settings(grace_seconds=0))

    assert (found["PUT"], found["GET"], found["HEAD"]) == (1000, 0, 1000)
    assert traffic(work)["bytes_read"] == 0


def test_requests_of_get_and_put_copies_with_neighbouring_keys() -> None:
    """One GET and PUT a row; two looks at both keys without a grace, a listing for each batch of 200."""
    found = requests(WORK, make_settings(grace_seconds=0))

    assert found == {"PUT": 1000, "GET": 1000, "HEAD": 0, "LIST": 20, "DELETE": 5}


def test_requests_grow_with_the_looks_of_a_long_grace() -> None:
    """After 5, 15, 35 ... s, and at the end: ten looks in an hour."""
    none, hour = (requests(WORK, make_settings(grace_seconds=grace))["LIST"] for grace in (0, 3600))

    assert (none, hour) == (20, 2 * 5 * (1 + 10))


def test_keys_that_lie_apart_cost_a_head_each() -> None:
    """A folder with a key or two is not worth a listing."""
    found = requests(dataclasses.replace(WORK, new_keys=SPARSE), make_settings(grace_seconds=0))

    assert (found["HEAD"], found["LIST"]) == (2000, 10)


def test_large_and_tagged_objects_cost_more_requests() -> None:
    """A multipart upload: begun, its parts, completed, and looked at; tags are read by a GET of their own."""
    sizes = Sizes(rows=1000, bytes=10_000, in_parts=10, bytes_in_parts=9000, parts=30)
    found = requests(dataclasses.replace(WORK, sizes=sizes, tagged_share=0.1), make_settings(grace_seconds=0))

    assert (found["PUT"], found["GET"], found["HEAD"]) == (990 + 30 + 20, 1100, 10)


def test_copies_by_the_store_need_no_get_and_move_no_bytes() -> None:
    """CopyObject; the source is looked at first."""
    work = dataclasses.replace(WORK, copies_by_store=True)
    found = requests(work, make_settings(grace_seconds=0))

    assert (found["PUT"], found["GET"], found["LIST"]) == (1000, 0, 25)
    assert traffic(work) == {"bytes_read": 0, "bytes_written": 0, "bytes_copied_by_store": 10_000}


def test_what_a_copy_by_the_store_would_lose_costs_a_head_and_acls_a_get() -> None:
    """As on S3: the HEAD stands in for the look at the source, which is a share of a listing elsewhere."""
    plain = dataclasses.replace(WORK, copies_by_store=True)
    heads, acls = (
        requests(dataclasses.replace(plain, **more), make_settings(grace_seconds=0))
        for more in ({"heads_first": True}, {"reads_acls": True})
    )

    assert (heads["HEAD"], heads["GET"], heads["LIST"]) == (1000, 0, 20)
    assert (acls["HEAD"], acls["GET"], acls["LIST"]) == (0, 1000, 25)


def test_rows_that_would_be_parked_after_the_look_at_their_objects_are_not_copied() -> None:
    """Half of the rows collide: their share of bytes and requests is left out."""
    work = dataclasses.replace(WORK, rows=500)

    assert traffic(work)["bytes_read"] == 5000
    assert requests(work, make_settings(grace_seconds=0))["PUT"] == 500


def test_cost_bills_heads_as_gets_and_lists_as_puts() -> None:
    """As S3 does; a price of their own goes first, and a delete costs nothing."""
    counted = {"PUT": 1000, "GET": 2000, "HEAD": 3000, "LIST": 4000, "DELETE": 5000}

    plain = cost(counted, parse_prices("put=5, GET=0.4"))
    own = cost(counted, parse_prices("put=5,get=0.4,head=1,list=2,delete=3"))

    assert plain is not None
    assert plain["by_class"] == {"PUT": 5, "GET": 0.8, "HEAD": 1.2, "LIST": 20, "DELETE": 0}
    assert plain["total"] == pytest.approx(27)
    assert own is not None
    assert own["by_class"] == {"PUT": 5, "GET": 0.8, "HEAD": 3, "LIST": 8, "DELETE": 15}
    assert cost(counted, None) is None


@pytest.mark.parametrize("text", ["", "put", "put=", "put=x", "put=-1", "put=nan", "put=inf", "post=1", "put=1,put=2", "put=1,"])
def test_price_that_is_none_is_refused(text: str) -> None:
    """In one line that says how prices are given."""
    with pytest.raises(UsageError, match=r"--price-per-1000: .* is no price"):
        parse_prices(text)


def test_time_goes_by_the_last_run_or_says_that_it_is_assumed() -> None:
    """Never a made-up certainty."""
    rate = PastRate(run_id="abcdef0123", rows=5000, rows_per_second=250.0)
    measured = duration(WORK, rate=rate, settings=make_settings(grace_seconds=60))
    assumed = duration(WORK, rate=None, settings=make_settings(grace_seconds=60))

    assert (measured["seconds_to_switch"], measured["seconds_in_all"], measured["measured"]) == (4, 64, True)
    assert measured["basis"] == "run abcdef01 switched 5000 rows at this rate"
    assert assumed["measured"] is False
    assert assumed["basis"].startswith("assumed, not measured here")


def test_assumed_time_counts_the_bytes_that_pass_through_the_workers() -> None:
    """Large objects are not copied at 600 a second."""
    work = dataclasses.replace(WORK, sizes=Sizes(rows=1000, bytes=10**12))

    assert duration(work, rate=None, settings=make_settings(grace_seconds=0))["seconds_to_switch"] == 20_000


@pytest.mark.parametrize(
    ("bounds", "to_switch", "in_all"),
    [
        ({"copy_rate": 10}, 100, 100),
        ({"copy_rate": 20, "rename_rate": 5}, 200, 200),
        ({"delete_rate": 1}, 2, 1000),
        ({"copy_rate": 999}, 2, 2),
    ],
)
def test_rates_that_were_set_bound_the_time(bounds: dict[str, int], to_switch: int, in_all: int) -> None:
    """Assets a second, by all workers together."""
    found = duration(WORK, rate=None, settings=make_settings(grace_seconds=0, **bounds))

    assert (found["seconds_to_switch"], found["seconds_in_all"]) == (to_switch, in_all)


def test_journal_costs_a_put_for_each_batch_of_deletes() -> None:
    """It is written before the first of them."""
    without, noted = (requests(WORK, make_settings(grace_seconds=0, journal=journal))["PUT"] for journal in (False, True))

    assert (without, noted) == (1000, 1005)


def test_time_of_nothing_to_move_is_nought() -> None:
    """No grace either."""
    assert duration(dataclasses.replace(WORK, rows=0), rate=None, settings=make_settings(grace_seconds=60))["seconds_in_all"] == 0
