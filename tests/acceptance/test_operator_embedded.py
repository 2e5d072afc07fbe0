"""The operator's commands on SQLite and SeaweedFS: pause, set, resume, cancel, hold, release, retry, rollback, and forward again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.deployment import Deployment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import RedisServer, S3Server

ASSETS = 200
SLOW = {"REKEY_COPY_RATE": "5", "REKEY_COPY_CONCURRENCY": "4"}


@pytest.mark.timeout(600)
def test_run_on_the_embedded_stack_is_steered_and_taken_back(
    seaweed: S3Server, redis_server: RedisServer, sqlite_url: str, tmp_path: Path
) -> None:
    """One table's life: each command finds what the one before it left."""
    made = Deployment(
        database_url=sqlite_url, broker_url=redis_server.url, store=seaweed, folder=tmp_path, settings={"HOME": str(tmp_path)}
    )
    assert made.rekey("init").status == 0
    service, named = made.service()
    assets = service.fill(ASSETS)
    service.bucket.remove(assets[-1].old_key)
    with made.workers():
        made.rekey("enqueue", "--json", **named, **SLOW)
        made.wait_for(lambda report: report["copied"] >= 10, **named)
        paused = made.rekey("pause", **named)
        turned = made.rekey("set", "copy_rate=10", "--json", **named)
        resumed = made.rekey("resume", **named)
        made.wait_for(lambda report: report["deleted"] >= 20, **named)
        cancelled = made.rekey("cancel", "--yes", "--json", **named)
        ended = made.rekey("status", "--watch", "--json", seconds=200, **named)

        held = made.rekey("enqueue", "--watch", "--hold", "--json", seconds=200, **named)
        service.bucket.put(assets[-1].old_key, assets[-1].content)
        retried = made.rekey("retry", "--reason", "missing_source", "--json", **named)
        whole = made.rekey("status", "--watch", "--json", seconds=200, **named)
        released = made.rekey("release", "--yes", "--json", **named)
        final = made.rekey("status", "--watch", "--json", seconds=200, **named)
        back = made.rekey("rollback", "--yes", "--watch", "--json", seconds=200, **named)
        again = made.rekey("enqueue", "--watch", "--json", seconds=200, **named)

    assert paused.status == resumed.status == cancelled.status == 0
    assert turned.report["set"]["copy_rate"] == 10
    assert (ended.report["state"], ended.report["open"]) == ("cancelled", 0)
    assert ended.report["cancelled"] > 0, "it was over before the cancellation: nothing was ended"
    assert (held.status, held.report["parked_reasons"]) == (3, {"missing_source": 1})
    assert (retried.report["moves"], whole.report["parked"]) == (1, 0)
    assert released.report["moves"] == whole.report["kept_reasons"]["held"] == final.report["deleted"]
    assert back.status == 0, back.err
    assert back.report["renamed"] == final.report["deleted"]
    assert again.status == 0, again.err
    kept = service.bucket.keys() & {asset.old_key for asset in assets}
    assert len(kept) == ended.report["kept"]
    assert service.differences(assets, at_old_keys=kept) == []
