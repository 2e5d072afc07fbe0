"""Canary reads on a public bucket: what readers would lose stops the run, with the reason, before an old object is deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.deployment import Deployment

ASSETS = 40
DONE = 0


@pytest.mark.timeout(400)
def test_policy_that_forgets_the_new_prefix_pauses_the_run_until_it_is_mended(working: Deployment) -> None:
    """The site's links are public: at the first switched rows the run rests, with all old objects there; mended, it ends."""
    service, named = working.service()
    assets = service.fill(ASSETS)
    service.bucket.publish("file-")
    working.rekey("enqueue", REKEY_GRACE_SECONDS="20", **named)
    stopped = working.wait_for(lambda report: report["state"] == "paused", **named)
    objects = service.bucket.keys()

    service.bucket.publish("")
    resumed = working.rekey("resume", **named)
    ended = working.rekey("status", "--watch", "--json", seconds=200, **named)

    assert stopped["canary_failed"] == 1
    assert "anybody may read the old object, and not the new one" in stopped["stall"]
    assert "`rekey resume` goes on" in stopped["stall"]
    assert {asset.old_key for asset in assets} <= objects
    assert (resumed.status, ended.status) == (DONE, DONE)
    report = ended.report
    assert (report["state"], report["deleted"], report["canary_failed"]) == ("finished", ASSETS, 1)
    assert report["canary_reads"] > stopped["canary_reads"]
    assert service.differences(assets) == []
