"""What lets a run rest: its hours, the operator's probe, too many failures; each named by the status, and what goes on by itself does."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.deployment import Deployment

ASSETS, MISSING = 40, 12
DONE = 0


@pytest.mark.timeout(400)
def test_run_rests_for_its_hours_for_a_probe_and_for_failures(working: Deployment) -> None:
    """One run, three reasons, one after the other; nothing is moved while the run rests."""
    service, named = working.service()
    assets = service.fill(ASSETS)
    missing, others = assets[:MISSING], assets[MISSING:]
    for asset in missing:
        service.bucket.remove(asset.old_key)
    gate = f"{service.table.name}_gate"
    service.table.run(f"CREATE TABLE {gate} (is_open BOOLEAN)")
    service.table.run(f"INSERT INTO {gate} VALUES (false)")
    now = datetime.now(UTC)
    closed = f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}"
    guard = {"REKEY_GUARD_PERCENT": "20", "REKEY_GUARD_OUTCOMES": str(ASSETS)}

    # The grace keeps the run from ending before the guard has counted.
    working.rekey("enqueue", REKEY_WINDOW=closed, REKEY_GRACE_SECONDS="60", **guard, **named)
    hours = working.wait_for(lambda report: report["rests"] == "window", **named)
    working.rekey("set", "window=", f"probe_sql=SELECT is_open FROM {gate}", **named)
    probe = working.wait_for(lambda report: report["rests"] == "probe", **named)
    before = service.bucket.keys()
    time.sleep(3)  # some ticks; what was in hand when the run came to rest has ended long ago
    after = service.bucket.keys()
    service.table.run(f"UPDATE {gate} SET is_open = true")
    failures = working.wait_for(lambda report: report["rests"] == "failures", **named)
    working.rekey("resume", **named)
    ended = working.rekey("status", "--watch", "--json", seconds=200, **named)

    assert f"outside of its hours {closed} UTC: goes on at {closed[:5]} UTC; `rekey set window=` takes them away" in hours["stall"]
    assert "the SELECT of REKEY_PROBE_SQL says False" in probe["stall"]
    assert before == after, "something was moved while the run rested"
    assert before >= {asset.old_key for asset in others}
    assert failures["state"] == "paused"
    assert f"20 % of {ASSETS} are too many" in failures["stall"]
    assert (ended.status, ended.report["state"]) == (DONE, "finished")
    assert (ended.report["deleted"], ended.report["parked_reasons"]) == (len(others), {"missing_source": MISSING})
    service.table.run(f"DELETE FROM {service.table.name} WHERE id <= {MISSING}")
    assert service.differences(others) == []
