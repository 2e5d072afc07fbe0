"""A migration from one bucket into another as an operator types it, on both kinds of store: there, verified, back, and verified again."""

from __future__ import annotations

import csv
import io
import secrets
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.service import Asset, Bucket

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.acceptance.service import Service
    from tests.servers import RedisServer, S3Server, SqlServer

ASSETS = 60


@pytest.fixture(params=["minio", "seaweed"])
def both(
    request: pytest.FixtureRequest, postgres: SqlServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A deployment on each store."""
    store: S3Server = request.getfixturevalue(request.param)
    url = postgres.make_database()
    folder = tmp_path_factory.mktemp("buckets")
    made = Deployment(database_url=url, broker_url=redis_server.url, store=store, folder=folder, settings={"HOME": str(folder)})
    assert made.rekey("init").status == 0
    yield made
    postgres.drop_database(url)


def _where(service: Service, target: Bucket, assets: list[Asset]) -> dict[str, int]:
    """How many assets lie, with the right content, where their row's key says, by bucket."""
    rows = service.table.keys()
    found = {"source": 0, "target": 0}
    for asset in assets:
        moved = rows[asset.id] == asset.new_key
        assert rows[asset.id] in {asset.old_key, asset.new_key}
        assert (target if moved else service.bucket).get(rows[asset.id]) == asset.content
        found["target" if moved else "source"] += 1
    assert service.bucket.keys() == {asset.old_key for asset in assets if rows[asset.id] == asset.old_key}
    assert target.keys() == {asset.new_key for asset in assets if rows[asset.id] == asset.new_key}
    return found


def _settings(service: Service, target: Bucket, named: Mapping[str, str]) -> dict[str, str]:
    target.make()
    return {**named, "REKEY_TARGET_BUCKET": target.name}


@pytest.mark.timeout(500)
def test_migration_into_another_bucket_and_back(both: Deployment) -> None:
    """Plan, run, report, verification, second run, rollback: each with the same settings, and none asks for a direction."""
    service, plain = both.service()
    target = Bucket(both.store, f"new-{secrets.token_hex(4)}")
    without = both.rekey("doctor", "--json", **plain, REKEY_TARGET_BUCKET=target.name)
    named = _settings(service, target, plain)
    assets = service.fill(ASSETS)
    with both.workers(**named):
        doctor = both.rekey("doctor", "--json", **named)
        plan = both.rekey("plan", "--json", **named)
        moved = both.rekey("enqueue", "--plan", plan.report["plan"], "--watch", "--json", seconds=200, **named)
        there = _where(service, target, assets)
        lines = both.rekey("report", **named)
        sound = both.rekey("verify", "--run", "last", "--headers", "--json", **named)
        again = both.rekey("enqueue", "--watch", "--json", seconds=200, **named)
        forgotten = both.rekey("rollback", "--run", moved.report["run"], "--yes", **plain)
        back = both.rekey("rollback", "--run", moved.report["run"], "--yes", "--watch", "--json", seconds=200, **named)
        home = _where(service, target, assets)
        well = both.rekey("verify", "--json", **named)

    assert any(target.name in finding["text"] for finding in without.report["findings"])
    assert [finding for finding in doctor.report["findings"] if finding["level"] == "problem" and finding["part"] == "object store"] == []
    assert (plan.report["to_move"], plan.report["would_park"]) == (ASSETS, 0)
    assert (moved.status, moved.report["deleted"]) == (0, ASSETS), moved.err
    assert there == {"source": 0, "target": ASSETS}
    assert {row["outcome"] for row in csv.DictReader(io.StringIO(lines.out))} == {"deleted"}
    assert (sound.status, sound.report["recount"]) == (0, {"deleted": {"ledger": ASSETS, "agree": ASSETS}}), sound.out
    assert (again.status, again.report["in_place"]) == (0, ASSETS), again.err
    assert (forgotten.status, target.name in forgotten.complaint) == (2, True)
    assert (back.status, back.report["renamed"]) == (0, ASSETS), back.err
    assert home == {"source": ASSETS, "target": 0}
    assert (well.status, well.report["faults"]) == (0, {}), well.out
    target.close()
