"""The case of a store that is driven into 503 SlowDown, and the live service with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.deployment import PATIENCE_SECONDS
from tests.cases.limited_door import LimitedDoor, Reader
from tests.cases.test_workers import _until, _watched, deployed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import RedisServer, S3Server, SqlServer

ASSETS, LIMIT, READS = 40, 50.0, 20.0
# More copies at once than fifty requests a second let through, ticks as far apart as by default, and leases as on a real deployment.
SETTINGS = {
    "REKEY_COPY_CONCURRENCY": "16",
    "REKEY_GRACE_SECONDS": "6",  # so that the run does not end before a tick has decided
    "REKEY_RECONCILE_SECONDS": "5",
    "REKEY_LOOK_SECONDS": "5",
    "REKEY_REQUEST_TIMEOUT_SECONDS": "10",
    "REKEY_LEASE_SECONDS": "30",
    "REKEY_VISIBILITY_TIMEOUT_SECONDS": "60",
    "REKEY_CANARY_READS": "5",
    "REKEY_BATCH_SIZE": "50",
}
LATE_SECONDS = 10.0  # for a read, with all that is refused of it, on a busy machine; a request of its own takes a hundredth


@pytest.mark.timeout(400)
def test_case_17_a_store_that_bears_fifty_requests_a_second_is_not_driven_beyond(
    postgres: SqlServer, redis_server: RedisServer, minio: S3Server, tmp_path: Path
) -> None:
    """Stages slow down and say why, a reader at 20 a second gets its objects, and no refusal counts against an asset."""
    door = LimitedDoor(minio.endpoint, limit=LIMIT)
    with (
        deployed(tmp_path / "made", postgres, redis_server, minio, REKEY_S3_ENDPOINT=door.endpoint, **SETTINGS) as deployment,
        deployment.workers(),
        _watched(deployment, ASSETS) as (service, assets, watch, evidence),
    ):
        reader = Reader(service, deployment, door, rate=READS, ids=ASSETS)
        reader.start()
        decided: list[dict[str, str]] = []

        def is_slowed() -> bool:
            decided.extend(json.loads(causes) for (causes,) in evidence.ask("SELECT causes FROM rekey_throttles WHERE rates <> '{}'"))
            return bool(decided)

        _until(is_slowed, watch)
        ended = watch.finish(seconds=PATIENCE_SECONDS)
        reader.stop()

        assert (ended.status, ended.report["deleted"], ended.report["parked"]) == (0, len(assets), 0), ended.report
        assert all("the store asks to slow down (503)" in cause for causes in decided for cause in causes.values())
        assert door.refused > 0
        assert evidence.ask("SELECT max(attempts), max(deaths) FROM rekey_moves") == [(0, 0)]
        assert reader.failed == []
        assert max(read.seconds for read in reader.reads) < LATE_SECONDS
        assert service.differences(assets) == []
    door.close()
