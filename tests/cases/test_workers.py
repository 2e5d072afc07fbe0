"""Cases about worker processes, broker and clocks: the real commands on PostgreSQL, Redis and MinIO."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import psutil
import pytest
import redis
from celery import Celery

from tests import servers
from tests.acceptance.deployment import PATIENCE_SECONDS, STAGES, Deployment
from tests.cases.test_stores import ScriptedDoor
from tests.chaos.cluster import Cluster
from tests.chaos.evidence import Evidence
from tests.chaos.plan import Rates
from tests.integration.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.acceptance.deployment import Running
    from tests.acceptance.service import Asset, Service
    from tests.chaos.wire import Request
    from tests.servers import RedisServer, S3Server, SqlServer

FINDINGS = 3
# A lease and a visibility time-out that are over while a worker stands still, small batches, few slots: some work is always in flight.
SHORT = {
    "REKEY_REQUEST_TIMEOUT_SECONDS": "2",
    "REKEY_LEASE_SECONDS": "4",
    "REKEY_VISIBILITY_TIMEOUT_SECONDS": "6",
    "REKEY_HINT_SECONDS": "5",
    "REKEY_COPY_CONCURRENCY": "2",
    "REKEY_RENAME_CONCURRENCY": "2",
    "REKEY_DELETE_CONCURRENCY": "2",
    "REKEY_BATCH_SIZE": "10",
}
# The wall clock of whatever Python starts with this on its path is two hours ahead; the boot clock is as it is.
AHEAD = """
import time

_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + 7200
time.time_ns = lambda: _time_ns() + 7200 * 10**9
"""


@contextmanager
def deployed(folder: Path, postgres: SqlServer, broker: RedisServer, store: S3Server, **settings: str) -> Iterator[Deployment]:
    """A deployment with its ledger, without workers."""
    folder.mkdir(exist_ok=True)
    url = postgres.make_database()
    made = Deployment(database_url=url, broker_url=broker.url, store=store, folder=folder, settings=SHORT | settings)
    assert made.rekey("init").status == 0
    yield made
    postgres.drop_database(url)


@contextmanager
def _watched(deployment: Deployment, count: int) -> Iterator[tuple[Service, list[Asset], Running, Evidence]]:
    """A run of *count* assets under way."""
    service, named = deployment.service()
    deployment.environ.update(named)
    assets = service.fill(count)
    evidence = Evidence(deployment, total=count)
    watch = deployment.start("app", "enqueue", "--watch", "--json", name="watch")
    try:
        yield service, assets, watch, evidence
    finally:
        watch.kill()
        evidence.close()
        service.close()


def _until(what: Callable[[], object], watch: Running) -> None:
    """Wait for something to be seen of a run that goes on meanwhile."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert watch.status is None, f"the run ended before: {watch.output()}"
        assert time.monotonic() < end, watch.output()
        time.sleep(0.05)


@pytest.mark.timeout(400)
def test_case_20_a_worker_whose_clock_is_two_hours_ahead_neither_steals_nor_shortens(
    postgres: SqlServer, redis_server: RedisServer, minio: S3Server, tmp_path: Path
) -> None:
    """Leases and graces are the database's, signatures the store's: no lease is lost, no grace is cut, nothing is parked."""
    grace = 8
    fast = tmp_path / "fast"
    fast.mkdir()
    (fast / "sitecustomize.py").write_text(AHEAD, encoding="utf-8")
    settings = {"REKEY_GRACE_SECONDS": str(grace), "REKEY_LEASE_SECONDS": "20", "REKEY_VISIBILITY_TIMEOUT_SECONDS": "30"}
    with (
        deployed(tmp_path / "made", postgres, redis_server, minio, **settings) as deployment,
        deployment.workers(name="right"),
        deployment.workers(name="ahead", PYTHONPATH=f"{fast}{os.pathsep}{deployment.environ['PYTHONPATH']}") as ahead,
        _watched(deployment, 150) as (service, assets, watch, evidence),
    ):
        ended = watch.finish(seconds=PATIENCE_SECONDS)
        assert (ended.status, ended.report["deleted"], ended.report["parked"]) == (0, len(assets), 0)
        assert service.differences(assets) == []
        early = f"SELECT COUNT(*) FROM rekey_moves WHERE intent_at - switched_at < {grace} * 1000000"
        deaths = "SELECT COUNT(*) FROM rekey_moves WHERE suspect OR deaths > 0"
        assert evidence.ask(early) == evidence.ask(deaths) == [(0,)]
        assert "succeeded" in ahead.output() or "renamed" in ahead.output(), "it took part"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_case_39_messages_that_come_again_while_they_are_worked_on_do_no_harm(
    pool: str, postgres: SqlServer, redis_server: RedisServer, minio: S3Server, tmp_path: Path
) -> None:
    """A worker stands still for longer than lease and visibility time-out: others take over, it wakes, and the queues do not grow."""
    with ExitStack() as exits:
        deployment = exits.enter_context(deployed(tmp_path / "made", postgres, redis_server, minio))
        exits.enter_context(deployment.workers())
        worker = ("celery", "-A", "app", "worker", "-l", "INFO", "--without-mingle", "--without-gossip", "-Q", "copy,rename,delete")
        extra = deployment.start(*worker, "-P", pool, "-c", "3", "-n", "extra@here", name="extra")
        exits.callback(extra.kill)
        extra.wait_for("consumes copy, rename, delete", seconds=PATIENCE_SECONDS)
        service, assets, watch, evidence = exits.enter_context(_watched(deployment, 600))
        family = [psutil.Process(extra.pid), *psutil.Process(extra.pid).children(recursive=True)]
        _until(lambda: extra.output().count("received") > 5 and evidence.leased(), watch)
        held = [token for stage in STAGES[1:] for token in evidence.tokens(stage)]
        for process in family:
            process.suspend()
        _until(lambda: not any(evidence.leased_under(held, stage) for stage in STAGES[1:]), watch)
        most = 0
        end = time.monotonic() + 8  # longer than the visibility time-out, and another delivery
        while time.monotonic() < end and watch.status is None:
            most = max(most, evidence.queued())
            time.sleep(0.1)
        for process in family:
            process.resume()
        ended = watch.finish(seconds=PATIENCE_SECONDS)

        assert (ended.status, ended.report["deleted"], ended.report["parked"]) == (0, len(assets), 0), ended.report
        assert service.differences(assets) == []
        assert most <= len(assets)
        client = redis.Redis.from_url(deployment.environ["REKEY_BROKER_URL"])
        wait_until(lambda: client.hlen(f"{deployment.environ['REKEY_QUEUE_PREFIX']}unacked") == 0, seconds=60)
        client.close()


class Poisoned(ScriptedDoor):
    """Kills whoever asks for a certain object, before it gets an answer."""

    def __init__(self, endpoint: str, *, key: str, kill: Callable[[], None]) -> None:
        super().__init__(endpoint)
        self.key, self.kill, self.deaths = key, kill, 0

    def draw(self, request: Request) -> tuple[Callable[..., None], Rates] | None:
        """The reset that follows is one of a dead process."""
        if request.method == "GET" and request.target.partition("?")[0].endswith(self.key):
            self.deaths += 1
            self.kill()
            return self._harm["reset"][1], Rates({}, 0.0, 0.0)
        return None


@pytest.mark.timeout(400)
def test_case_40_an_asset_that_kills_its_worker_each_time_is_parked_and_its_mates_move(
    postgres: SqlServer, redis_server: RedisServer, minio: S3Server, tmp_path: Path
) -> None:
    """Counted in the ledger, and only deaths alone count: three of its own, after those that it shared; every other asset moves."""
    clusters: list[Cluster] = []
    door = Poisoned(minio.endpoint, key="/file-7.bin", kill=lambda: [each.kill() for each in clusters[0].processes("copy")] and None)
    with deployed(tmp_path / "made", postgres, redis_server, minio, REKEY_S3_ENDPOINT=door.endpoint) as deployment:
        cluster = Cluster(deployment)
        clusters.append(cluster)
        cluster.supervisors = [deployment.start("workers", name="workers-1")]
        try:
            cluster.supervisors[0].wait_for("consumes copy,", seconds=PATIENCE_SECONDS)
            with _watched(deployment, 60) as (service, assets, watch, evidence):
                ended = watch.finish(seconds=PATIENCE_SECONDS)
                poison = next(asset for asset in assets if asset.id == 7)

                assert (ended.status, ended.report["parked_reasons"], ended.report["deleted"]) == (FINDINGS, {"failed": 1}, len(assets) - 1)
                assert service.table.key(7) == poison.old_key
                assert service.bucket.get(poison.old_key) == poison.content
                service.table.run(f"DELETE FROM {service.table.name} WHERE id = 7")
                assert service.differences([asset for asset in assets if asset.id != 7], at_old_keys=[poison.old_key]) == []
                assert evidence.ask("SELECT row_id, deaths FROM rekey_moves WHERE deaths > 0") == [("[7]", 3)]
        finally:
            cluster.stop()
    door.close()
    assert door.deaths >= 4, "the first one in company, three alone"


@pytest.mark.timeout(400)
def test_case_42_a_broker_that_is_full_evicts_and_forgets_loses_nothing(postgres: SqlServer, minio: S3Server, tmp_path: Path) -> None:
    """Noeviction at its limit (case 41), then allkeys-lru, then FLUSHALL: the ledger sends again what vanished, in the time it says."""
    with servers.redis_server() as broker, deployed(tmp_path / "made", postgres, broker, minio) as deployment:
        client = redis.Redis.from_url(broker.url)
        with deployment.workers(name="before"):
            pass
        client.config_set("maxmemory-policy", "allkeys-lru")
        with deployment.workers() as workers, _watched(deployment, 600) as (service, assets, watch, evidence):
            workers.wait_for("maxmemory-policy is allkeys-lru", seconds=PATIENCE_SECONDS)
            client.config_set("maxmemory-policy", "noeviction")
            _until(lambda: evidence.progress().copied > 0.1 and evidence.hinted(), watch)
            client.config_set("maxmemory", "1")
            refused = client.info("errorstats").get("errorstat_OOM", {}).get("count", 0)
            _until(lambda: client.info("errorstats").get("errorstat_OOM", {}).get("count", 0) > refused, watch)
            client.config_set("maxmemory", "0")
            _until(lambda: evidence.progress().copied > 0.3 and evidence.queued(), watch)
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.config_set("maxmemory", "1")
            _until(lambda: client.info("stats")["evicted_keys"] > 0, watch)
            client.config_set("maxmemory", "0")
            client.config_set("maxmemory-policy", "noeviction")
            _until(lambda: evidence.progress().copied > 0.5 and evidence.hinted(), watch)
            client.flushall()
            ended = watch.finish(seconds=PATIENCE_SECONDS)

            assert (ended.status, ended.report["deleted"], ended.report["parked"]) == (0, len(assets), 0), ended.report
            assert service.differences(assets) == []
        client.close()


@pytest.mark.timeout(400)
def test_case_44_two_deployments_on_one_redis_touch_nothing_of_each_other(
    postgres: SqlServer, redis_server: RedisServer, minio: S3Server, tmp_path: Path
) -> None:
    """Staging and production with equal queues, prefix, row ids and run numbers: each other's messages are refused, and not lost."""
    with ExitStack() as exits:
        both = [
            exits.enter_context(deployed(tmp_path / name, postgres, redis_server, minio, REKEY_QUEUE_PREFIX="same:"))
            for name in ("staging", "production")
        ]
        workers = [exits.enter_context(each.workers()) for each in both]
        # At ten a second both runs are at it for ten seconds, with a message for each few assets: the workers of each do meet the other's.
        runs = [exits.enter_context(_watched(each, 100)) for each in both]
        ended = [watch.finish(seconds=PATIENCE_SECONDS) for _, _, watch, _ in runs]

        for (service, assets, _, _), end in zip(runs, ended, strict=True):
            assert (end.status, end.report["deleted"], end.report["parked"]) == (0, len(assets), 0), end.report
            assert service.differences(assets) == []
        # One that is gone left messages for these very runs: they come round until whoever has them last throws them away, and says so.
        ids = [evidence.ask("SELECT id FROM rekey_runs")[0][0] for _, _, _, evidence in runs]
        counted = [evidence.ask("SELECT count(*), sum(attempts) FROM rekey_moves") for _, _, _, evidence in runs]

        def each_has_refused_one() -> bool:
            _leave_behind(redis_server, ids)
            return all("of another deployment" in each.output() for each in workers)

        wait_until(each_has_refused_one, seconds=PATIENCE_SECONDS)
        assert counted == [evidence.ask("SELECT count(*), sum(attempts) FROM rekey_moves") for _, _, _, evidence in runs]


def _leave_behind(broker: RedisServer, runs: Sequence[str]) -> None:
    """Publish a message of a deployment that is gone for the first move of each of *runs*."""
    app = Celery("test", broker=broker.url, set_as_current=False)
    app.conf.broker_transport_options = {"global_keyprefix": "same:", "priority_steps": [0]}
    with app.connection_for_write() as connection:
        for run in runs:
            app.send_task("copy_objects", ("gone", run, [1]), queue="copy", ignore_result=True, connection=connection)
