"""A run that begins with one row: what it has moved after each step, across restarts and the loss of the broker's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

if TYPE_CHECKING:
    from tests.acceptance.deployment import Deployment
    from tests.acceptance.service import Asset, Service

ASSETS = 60  # of 25 clients
DONE, USAGE = 0, 2


def _moved(service: Service, assets: list[Asset]) -> set[int]:
    rows = service.table.keys()
    return {asset.id for asset in assets if rows[asset.id] == asset.new_key}


@pytest.mark.timeout(400)
def test_ladder_waits_after_each_step_until_it_is_resumed(deployment: Deployment) -> None:
    """1 row, its client's, 1 %, all. Between two steps workers and broker lose all that they know; `set` and `pause` work in a step."""
    service, named = deployment.service()
    assets = service.fill(ASSETS)
    with deployment.workers():
        started = deployment.rekey("enqueue", "--ladder", "--json", **named)
        first = deployment.wait_for(lambda report: report["step"]["waits"] and report["state"] == "paused", **named)
        one = _moved(service, assets)
        deployment.rekey("set", "copy_rate=1000", **named)
        deployment.rekey("pause", **named)
    redis.Redis.from_url(deployment.environ["REKEY_BROKER_URL"]).flushall()
    with deployment.workers(name="after"):
        still = deployment.status(**named)
        going = deployment.rekey("resume", **named)
        second = deployment.wait_for(lambda report: report["state"] == "paused" and report["step"]["step"] > 1, **named)
        mine = _moved(service, assets)
        deployment.rekey("resume", **named)
        deployment.wait_for(lambda report: report["step"]["step"] == 4 or report["step"]["waits"], **named)
        deployment.rekey("resume", **named)
        ended = deployment.rekey("status", "--watch", "--json", seconds=200, **named)

    assert started.report["step"] == {
        "step": 1, "of": 4, "rows": "1 row", "planned": 0, "auto": False, "waits": False, "next": "one client"
    }  # fmt: skip
    assert one == {1}
    assert (first["state"], first["deleted"], first["rows"]) == ("paused", 1, 1)
    assert "`rekey resume` begins step 2 (one client)" in first["stall"]
    assert (still["state"], still["step"]) == ("paused", first["step"])
    assert "step 2 of 4 (all rows of client 2)" in going.out
    assert mine == {asset.id for asset in assets if asset.client == assets[0].client}
    assert second["stall"].startswith("step 2 of 4 (all rows of client 2) is over")
    assert ended.status == DONE
    assert (ended.report["state"], ended.report["deleted"], ended.report["step"]["step"]) == ("finished", ASSETS, 4)
    assert service.differences(assets) == []


@pytest.mark.timeout(400)
def test_ladder_that_goes_on_by_itself_stops_at_the_first_parked_row(working: Deployment) -> None:
    """And `cancel` ends it there. A client and a limit each move what they name, one run after the other."""
    service, named = working.service()
    assets = service.fill(ASSETS)
    missing = assets[25]
    service.bucket.remove(missing.old_key)
    working.rekey("enqueue", "--ladder", "--auto", **named)
    stopped = working.wait_for(lambda report: report["step"]["waits"] and report["state"] == "paused", **named)
    after_two = _moved(service, assets)
    cancelled = working.rekey("cancel", "--yes", "--json", **named)
    working.wait_for(lambda report: report["ended"], **named)
    limited = working.rekey("enqueue", "--limit", "3", "--watch", "--json", seconds=200, **named)
    after_limit = _moved(service, assets)
    of_client = working.rekey("enqueue", "--client", "9", "--watch", "--json", seconds=200, **named)
    nobody = working.rekey("enqueue", "--client", "999", **named)

    assert (stopped["step"]["step"], stopped["parked_reasons"]) == (2, {"missing_source": 1})
    assert after_two == {asset.id for asset in assets if asset.client == assets[0].client} - {missing.id}
    assert cancelled.status == DONE
    assert limited.report["deleted"] == 3
    assert after_limit - after_two == {2, 3, 4}
    assert _moved(service, assets) - after_limit == {asset.id for asset in assets if asset.client == 9}
    assert of_client.report["step"]["rows"] == "all rows of client 9"
    assert (nobody.status, "no row has client_id = '999'" in nobody.complaint) == (USAGE, True)
