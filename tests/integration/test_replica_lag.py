"""How far PostgreSQL's replicas are behind: what slows a run down by REKEY_REPLICA_LAG_SECONDS."""

from __future__ import annotations

import time

import pytest

from app.database import open_engine
from app.probing import replica_lag
from tests import servers

BEHIND_SECONDS = 3


@pytest.mark.timeout(200)
def test_lag_of_a_replica_is_seen_and_ends_when_it_has_caught_up() -> None:
    """None without a replica; as long as it replays late; and none once it has replayed all there is, however late that was."""
    with servers.postgres_server() as primary:
        engine = open_engine(primary.url)
        alone = replica_lag(engine)
        with servers.postgres_replica(primary, behind_seconds=BEHIND_SECONDS):
            with engine.begin() as connection:
                connection.exec_driver_sql("CREATE TABLE written AS SELECT 1 AS one")
            longest, end = 0.0, time.monotonic() + 60
            while (lag := replica_lag(engine)) or not longest:
                longest = max(longest, lag)
                assert time.monotonic() < end, f"it never caught up, or was never behind: {lag}"
                time.sleep(0.2)
        engine.dispose()

    assert alone == 0.0
    assert BEHIND_SECONDS / 2 < longest < 60
