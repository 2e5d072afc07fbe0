"""What an operator types in the middle of a run: set, pause, cancel, release, retry."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.deployment import Deployment

ASSETS = 400
COPY_RATE = 10  # forty seconds for all of them, of which commands on a busy machine may take half
SLOW = {"REKEY_COPY_RATE": str(COPY_RATE), "REKEY_COPY_CONCURRENCY": "8"}
HEARD_SECONDS = 5.0


@pytest.mark.timeout(400)
def test_rate_pause_and_set_take_effect_in_the_middle_of_a_run(working: Deployment) -> None:
    """A run at ten copies a second is paused, set free and resumed; nothing moves while it rests, and it ends as any other."""
    service, named = working.service()
    assets = service.fill(ASSETS)
    started = working.rekey("enqueue", "--json", **named, **SLOW)
    began = time.monotonic()
    moving = working.wait_for(lambda report: report["copied"] >= 20, **named)
    rate = moving["copied"] / (time.monotonic() - began)

    paused = working.rekey("pause", **named)
    time.sleep(HEARD_SECONDS)
    resting = service.bucket.versions()
    time.sleep(2 * HEARD_SECONDS)
    still = service.bucket.versions()
    turned = working.rekey("set", "copy_rate=0", "batch_size=50", "--json", **named)
    resumed = working.rekey("resume", **named)
    ended = working.rekey("status", "--watch", "--json", seconds=200, **named)

    assert started.status == 0, started.err
    assert rate < 3 * COPY_RATE, "the rate was not kept"
    assert paused.status == resumed.status == 0
    assert still == resting
    assert len(resting) < 2 * ASSETS, "it was over before the pause: nothing was held"
    assert turned.report["set"] == {"copy_rate": 0, "batch_size": 50, "hold": False, "max_deletes": None}
    assert (ended.report["deleted"], ended.report["state"]) == (ASSETS, "finished")
    assert service.differences(assets) == []


@pytest.mark.timeout(400)
def test_cancelled_run_leaves_a_bucket_that_every_row_can_be_read_from(working: Deployment) -> None:
    """Some are moved, some are not; no copy without a row is left, and a new run moves the rest."""
    service, named = working.service()
    assets = service.fill(ASSETS)
    working.rekey("enqueue", "--json", **named, **SLOW)
    working.wait_for(lambda report: report["deleted"] >= 20, **named)

    asked = working.rekey("cancel", **named)  # no terminal to answer on
    cancelled = working.rekey("cancel", "--yes", "--json", **named)
    ended = working.rekey("status", "--watch", "--json", seconds=120, **named)
    keys = service.table.keys()
    again = working.rekey("cancel", "--yes", **named)
    second = working.rekey("enqueue", "--watch", "--json", seconds=200, **named)

    assert (asked.status, "--yes" in asked.complaint) == (2, True)
    assert cancelled.status == 0, cancelled.err
    report = ended.report
    assert (report["state"], report["ended"], report["open"]) == ("cancelled", True, 0)
    assert report["cancelled"] > 0, "it was over before the cancellation: nothing was ended"
    assert report["deleted"] + report["kept"] + report["cancelled"] == report["rows"] == ASSETS
    moved = {asset.id for asset in assets if keys[asset.id] == asset.new_key}
    assert len(moved) == report["deleted"] + report["kept"]
    assert (again.status, "cancelled" in again.complaint) == (2, True)
    assert (second.status, second.report["deleted"] + second.report["in_place"]) == (0, ASSETS)
    left = service.bucket.keys() & {asset.old_key for asset in assets}
    assert len(left) == report["kept"]
    assert service.differences(assets, at_old_keys=left) == []


@pytest.mark.timeout(400)
def test_held_deletes_wait_for_release(working: Deployment) -> None:
    """``--hold``: all rows are switched, all old objects are there; ``release`` deletes some, then the rest."""
    service, named = working.service()
    assets = service.fill(30)
    held = working.rekey("enqueue", "--watch", "--hold", "--json", seconds=200, **named)
    before = service.bucket.keys()
    some = working.rekey("release", "--max-deletes", "10", "--yes", "--json", **named)
    partly = working.rekey("status", "--watch", "--json", seconds=120, **named)
    rest = working.rekey("release", "--yes", "--json", **named)
    ended = working.rekey("status", "--watch", "--json", seconds=120, **named)
    nothing = working.rekey("release", "--yes", **named)

    assert (held.status, held.report["kept_reasons"]) == (0, {"held": 30})
    assert before >= {asset.old_key for asset in assets} | {asset.new_key for asset in assets}
    assert (some.status, some.report["moves"]) == (0, 10)
    assert (partly.report["deleted"], partly.report["kept"]) == (10, 20)
    assert (rest.status, rest.report["moves"]) == (0, 20)
    assert (ended.report["deleted"], ended.report["state"]) == (30, "finished")
    assert nothing.status == 2
    assert service.differences(assets) == []


@pytest.mark.timeout(400)
def test_retry_moves_what_was_parked_once_its_cause_is_mended(working: Deployment) -> None:
    """Missing objects are uploaded, and only the client that is named goes on at first."""
    service, named = working.service()
    assets = service.fill(6)
    for asset in assets[:2]:
        service.bucket.remove(asset.old_key)
    parked = working.rekey("enqueue", "--watch", "--json", seconds=200, **named)
    for asset in assets[:2]:
        service.bucket.put(asset.old_key, asset.content)

    wrong = working.rekey("retry", "--reason", "denied", **named)
    first = working.rekey("retry", "--id", str(assets[0].id), "--json", **named)
    one = working.rekey("status", "--watch", "--json", seconds=120, **named)
    rest = working.rekey("retry", "--reason", "missing_source", "--json", **named)
    ended = working.rekey("status", "--watch", "--json", seconds=120, **named)

    assert (parked.status, parked.report["parked_reasons"]) == (3, {"missing_source": 2})
    assert (wrong.status, "no parked asset" in wrong.complaint) == (2, True)
    assert (first.report["moves"], one.report["deleted"], one.report["parked"]) == (1, 5, 1)
    assert (rest.report["moves"], ended.report["deleted"], ended.report["parked"]) == (1, 6, 0)
    assert service.differences(assets) == []
