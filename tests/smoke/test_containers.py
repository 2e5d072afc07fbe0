"""The shipped image at work in containers: the chain, its queues, deaths and cuts in the middle, neighbours on one Redis, an upgrade.

Each test adds assets to the table and has them moved; at its end every asset of the table is counted again, with plain SQL and S3.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine import ROOT
from tests.integration.processes import wait_until
from tests.smoke import fleet
from tests.smoke.fleet import CONCURRENCY, PATIENCE_SECONDS, QUICK, STAGES, Deployment, Setup, Worker

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.networks import Network
    from pytest_celery import CeleryTestNode

pytestmark = pytest.mark.timeout(1200)  # the first test waits for the image to be built

Event = Mapping[str, Any]
TASKS = {"seed_moves": "seed", "reconcile_moves": "seed", "copy_objects": "copy", "rename_keys": "rename", "delete_objects": "delete"}
FREEZE = """
import os, pathlib, signal
for place in pathlib.Path("/proc").glob("[0-9]*"):
    if b"celery" in (place / "cmdline").read_bytes() and int(place.name) not in (1, os.getpid()):
        os.kill(int(place.name), signal.{signal})
"""


@pytest.fixture(scope="module")
def frozen(start: Callable[..., Worker]) -> Worker:
    """A worker that lives and consumes nothing any more; its check is more frequent than the image's, and no more patient."""
    second = 1_000_000_000
    check = {"test": ["CMD", "python", "-m", "workers", "health"], "interval": second, "timeout": 5 * second, "retries": 1}
    worker = start("python", "-m", "workers", "rename", more={"healthcheck": check}, REKEY_QUEUE_PREFIX="frozen:")
    wait_until(lambda: worker.health == "healthy", seconds=PATIENCE_SECONDS)
    assert worker.run("python", "-c", FREEZE.format(signal="SIGSTOP")) == (0, "")
    return worker


@pytest.fixture(scope="module")
def events(frozen: Worker, deployment: Deployment, broker_container: fleet.Broker) -> list[Event]:
    """What Celery told of a whole run, a message for each asset."""
    app = Setup.create_setup_app({"broker_url": broker_container.host_url}, "watcher")
    with _listening(app) as seen:
        deployment.begin(deployment.service.fill_large(40, size=300_000))
        report = deployment.finish()
        wait_until(lambda: len([one for one in seen if one["type"] == "task-succeeded"]) >= len(_names(seen, "task-started")))
    assert (report["state"], report["rows"], report["deleted"], report["parked"]) == ("finished", 40, 40, 0)
    return list(seen)


@contextmanager
def _listening(app: Any) -> Iterator[list[Event]]:  # noqa: ANN401 - Celery has no types
    seen: list[Event] = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": seen.append})
        thread = threading.Thread(target=receiver.capture, kwargs={"limit": None, "wakeup": True}, daemon=True)
        thread.start()
        wait_until(lambda: any(one["type"].startswith("worker-") for one in seen))  # it hears what is said
        yield seen
        receiver.should_stop = True
        thread.join(10)


def _names(seen: list[Event], kind: str) -> dict[str, tuple[str, str]]:
    """Task and stage's worker by the message's id, for the events of one kind."""
    names = {one["uuid"]: one["name"] for one in seen if one["type"] == "task-received"}
    return {one["uuid"]: (names[one["uuid"]], one["hostname"].partition("@")[0]) for one in seen if one["type"] == kind}


def _most_at_once(seen: list[Event]) -> dict[str, int]:
    steps = {"task-started": 1, "task-succeeded": -1, "task-failed": -1}
    told = sorted((one["timestamp"], steps[one["type"]], one["hostname"].partition("@")[0]) for one in seen if one["type"] in steps)
    now: dict[str, int] = defaultdict(int)
    most: dict[str, int] = defaultdict(int)
    for _, step, worker in told:
        now[worker] += step
        most[worker] = max(most[worker], now[worker])
    return dict(most)


def test_chain_moves_every_asset_from_enqueue_to_deleted(events: list[Event], deployment: Deployment) -> None:
    """Rows, objects and bytes are as they must be, counted from outside."""
    assert deployment.service.differences(deployment.assets) == []


def test_each_worker_runs_its_own_stage_alone(events: list[Event]) -> None:
    """A copy worker never runs a rename: every task of a run was started where its queue is consumed."""
    started = _names(events, "task-started").values()

    assert set(started) == set(TASKS.items())


def test_worker_runs_no_more_at_once_than_its_stage_may(events: list[Event]) -> None:
    """Each has the concurrency of its stage, and copies do run side by side."""
    most = _most_at_once(events)

    assert [stage for stage in STAGES if most[stage] > CONCURRENCY[stage]] == []
    assert most["copy"] > 1


def _kill(node: CeleryTestNode, net: Network) -> None:
    node.kill()
    assert node.container.status == "exited"
    node.restart()


def _restart(node: CeleryTestNode, net: Network) -> None:
    node.restart()


def _cut(node: CeleryTestNode, net: Network) -> None:
    net.disconnect(node.container.id)
    time.sleep(int(QUICK["REKEY_LEASE_SECONDS"]) + 1)  # its leases run out
    net.connect(node.container.id)
    node.container.reload()


@pytest.mark.parametrize("harm", [_kill, _restart, _cut])
@pytest.mark.parametrize("part", ["copy worker", "redis"])
def test_run_outlives_harm_in_its_middle(
    part: str, harm: Callable[[CeleryTestNode, Network], None], deployment: Deployment, net: Network, celery_setup: Setup
) -> None:
    """Half the copies are made when it comes; the run ends, and nothing is lost or doubled."""
    by_queue = {worker.worker_queue: worker for worker in celery_setup.worker_cluster}
    node = celery_setup.broker if part == "redis" else by_queue["copy"]
    assets = deployment.begin(deployment.fill(24), "--copy-rate", "2")

    deployment.wait_for_copies(assets, 0.2)
    harm(node, net)
    deployment.hasten()
    report = deployment.finish()

    assert (report["state"], report["deleted"], report["parked"]) == ("finished", len(assets), 0)
    assert deployment.service.differences(deployment.assets) == []


def test_two_deployments_on_one_redis_touch_nothing_of_each_other(
    deployment: Deployment, another: Callable[..., Deployment], start: Callable[..., Worker]
) -> None:
    """Case 44: staging beside production, with equal queues and, by mistake, an equal prefix; equal table, row ids and keys."""
    staging = another("staging")
    workers = start(**staging.settings)
    wait_until(lambda: fleet.consuming(workers.logs(), STAGES), seconds=PATIENCE_SECONDS)

    for each in (staging, deployment):
        each.wait_for_copies(each.begin(each.fill(30), "--copy-rate", "3"), 0.1)
    for each in (staging, deployment):
        each.hasten()
    reports = [each.finish() for each in (staging, deployment)]
    workers.stop(seconds=45)

    assert [(report["state"], report["deleted"], report["parked"]) for report in reports] == [("finished", 30, 0)] * 2
    assert [each.service.differences(each.assets) for each in (staging, deployment)] == [[], []]


def test_old_and_new_workers_run_side_by_side(
    docker_client: DockerClient, image: str, another: Callable[..., Deployment], start: Callable[..., Worker]
) -> None:
    """An upgrade in the middle of a run, begun by the oldest code whose ledger is today's: the new joins in, then the old is stopped."""
    old_tag = fleet.aged_image(docker_client, _oldest_with_this_ledger())
    deployment = another("upgraded", tag=old_tag, REKEY_QUEUE_PREFIX="upgraded:")
    old = start(tag=old_tag, **deployment.settings)
    wait_until(lambda: fleet.consuming(old.logs(), STAGES), seconds=PATIENCE_SECONDS)
    assets = deployment.begin(deployment.fill(300), "--copy-rate", "3")  # until both have had their share, on however busy a machine
    deployment.wait_for_copies(assets, 0.03)

    new = start(**deployment.settings)
    assert new.run("rekey", "init")[0] == 0
    done = re.compile(r"Task copy_objects\[\S+\] succeeded")
    wait_until(lambda: done.search(new.logs()), seconds=PATIENCE_SECONDS)
    assert deployment.copied(assets) < len(assets)
    assert old.stop(seconds=45) == 0
    deployment.hasten()
    report = deployment.finish()
    new.stop(seconds=45)

    assert done.search(old.logs())
    assert (report["state"], report["deleted"], report["parked"]) == ("finished", len(assets), 0)
    assert deployment.service.differences(deployment.assets) == []


def _oldest_with_this_ledger() -> str:
    def git(*command: str) -> str:
        done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    found = git("log", "-1", "--format=%H", "-G^SCHEMA_VERSION = ", "--", "app/schema.py")
    if not found or git("rev-parse", "--is-shallow-repository") != "false":
        pytest.skip("no history of the code here to take an old version from")
    return found


def test_health_turns_red_when_a_worker_consumes_no_more_and_green_again(frozen: Worker) -> None:
    """Its process lives all the while; the engine sees it within the twenty seconds of a stale heartbeat."""
    wait_until(lambda: frozen.health == "unhealthy", seconds=PATIENCE_SECONDS)
    assert "not seen to work for" in frozen.run("python", "-m", "workers", "health")[1]

    assert frozen.run("python", "-c", FREEZE.format(signal="SIGCONT")) == (0, "")

    wait_until(lambda: frozen.health == "healthy", seconds=PATIENCE_SECONDS)
    frozen.stop(seconds=10)  # its checks come each second, and cost more than the rest of the fleet
