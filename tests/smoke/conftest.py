"""The shipped image in containers: Redis, PostgreSQL, MinIO, and one worker a stage on its own queue.

Where no engine answers these tests are skipped, also on CI: Docker is the one server that is not everywhere.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import docker
import pytest
from minio import Minio
from pytest_celery import CeleryBrokerCluster, CeleryTestWorker, CeleryWorkerCluster, RedisTestBroker
from pytest_docker_tools import container, fxtr, network, volume
from pytest_docker_tools.wrappers import Container

from tests.acceptance.service import Service
from tests.engine import FILLED, IMAGE, build_image, no_engine
from tests.integration.processes import wait_until
from tests.servers import S3Server
from tests.smoke import fleet
from tests.smoke.fleet import CONCURRENCY, CONFINED, PREFIX, QUICK, Deployment, Setup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery
    from docker import DockerClient
    from docker.models.networks import Network

MODULE = "module"  # what runs on to the session's end takes the processors from all tests that come after
USER, PASSWORD = FILLED["REKEY_S3_ACCESS_KEY"], FILLED["REKEY_S3_SECRET_KEY"]


@pytest.fixture(scope=MODULE)
def docker_client() -> DockerClient:
    """The engine."""
    if no_engine():
        pytest.skip(no_engine() or "")
    return docker.from_env()


@pytest.fixture(scope=MODULE)
def image(docker_client: DockerClient) -> str:
    """The shipped image, built."""
    build_image()
    return IMAGE


net = network(scope=MODULE)
# On a volume, as docker-compose.yml has it: what it was told outlives its end.
redis_data = volume(scope=MODULE)
broker_container = container(
    scope=MODULE,
    image=os.environ.get("REDIS_IMAGE", "redis:7-alpine"),
    command=["redis-server", "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"],
    ports={"6379/tcp": ("127.0.0.1", None)},
    volumes={"{redis_data.name}": {"bind": "/data", "mode": "rw"}},
    network="{net.name}",
    wrapper_class=fleet.Broker,
)
database_container = container(
    scope=MODULE,
    image=os.environ.get("POSTGRES_IMAGE", "postgres:16-alpine"),
    environment={"POSTGRES_USER": "rekey", "POSTGRES_DB": "rekey", "POSTGRES_PASSWORD": FILLED["POSTGRES_PASSWORD"]},
    ports={"5432/tcp": ("127.0.0.1", None)},
    tmpfs={"/var/lib/postgresql/data": ""},
    network="{net.name}",
    wrapper_class=fleet.Database,
    timeout=60,
)
store_container = container(
    scope=MODULE,
    image=os.environ.get("MINIO_IMAGE", "minio/minio:latest"),
    command=["server", "/data"],
    environment={"MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": PASSWORD},
    ports={"9000/tcp": ("127.0.0.1", None)},
    tmpfs={"/data": ""},
    network="{net.name}",
)


@pytest.fixture(scope=MODULE)
def store(store_container: Container) -> S3Server:
    """MinIO as this machine reaches it, with the buckets of both deployments."""
    endpoint = f"127.0.0.1:{store_container.ports['9000/tcp'][0]}"
    client = Minio(endpoint, access_key=USER, secret_key=PASSWORD, secure=False)
    for bucket in ("assets", "staging", "upgraded"):
        client.make_bucket(bucket)
    return S3Server(server=None, endpoint=f"http://{endpoint}", access_key=USER, secret_key=PASSWORD, bucket="assets")  # type: ignore[arg-type] # the engine's, not ours


@pytest.fixture(scope=MODULE)
def environ(
    broker_container: fleet.Broker, database_container: fleet.Database, store_container: Container, store: S3Server
) -> dict[str, str]:
    """The settings of the deployment, with the addresses that containers reach each other by."""
    database, objects = (each.attrs["Config"]["Hostname"] for each in (database_container, store_container))
    return QUICK | {
        "REKEY_BROKER_URL": broker_container.url,
        "REKEY_QUEUE_PREFIX": PREFIX,
        "REKEY_DATABASE_URL": f"postgresql://rekey:{FILLED['POSTGRES_PASSWORD']}@{database}/rekey",
        "REKEY_S3_ENDPOINT": f"http://{objects}:9000",
        "REKEY_S3_ACCESS_KEY": USER,
        "REKEY_S3_SECRET_KEY": PASSWORD,
        "REKEY_S3_BUCKET": "assets",
        "REKEY_BATCH_SIZE": "1",
        **{f"REKEY_{stage.upper()}_CONCURRENCY": str(most) for stage, most in CONCURRENCY.items()},
    }


def stage_container(stage: str, wrapper: type[fleet.Worker]) -> Callable[..., fleet.Worker]:
    """A worker of one stage, on its own queue."""
    return container(
        scope=MODULE,
        image="{image}",
        command=["python", "-m", "workers", stage],
        environment=fxtr("environ"),
        network="{net.name}",
        wrapper_class=wrapper,
        **CONFINED,
    )


seed_container = stage_container("seed", fleet.SeedWorker)
copy_container = stage_container("copy", fleet.CopyWorker)
rename_container = stage_container("rename", fleet.RenameWorker)
delete_container = stage_container("delete", fleet.DeleteWorker)


@pytest.fixture(scope=MODULE)
def worker_containers(
    seed_container: fleet.Worker, copy_container: fleet.Worker, rename_container: fleet.Worker, delete_container: fleet.Worker
) -> list[fleet.Worker]:
    """One of each stage, consuming."""
    each = [seed_container, copy_container, rename_container, delete_container]
    for worker in each:
        stage = worker.worker_queue()
        wait_until(lambda worker=worker, stage=stage: fleet.consuming(worker.logs(), [stage]), seconds=fleet.PATIENCE_SECONDS)
    return each


@pytest.fixture(scope=MODULE)
def start(docker_client: DockerClient, net: Network, image: str, environ: dict[str, str]) -> Iterator[Callable[..., fleet.Worker]]:
    """Starts another container of the deployment's network; removed at the module's end, and so are other images than the shipped."""
    made, tags = [], {image}

    def one(*command: str, tag: str = image, more: dict[str, object] | None = None, **settings: str) -> fleet.Worker:
        values = environ | settings
        options = CONFINED | (more or {})
        raw = docker_client.containers.run(tag, list(command) or None, environment=values, network=net.name, detach=True, **options)
        made.append(raw)
        tags.add(tag)
        raw.reload()
        return fleet.Worker(raw)

    yield one
    for raw in made:
        raw.remove(force=True, v=True)
    for tag in tags - {image}:
        docker_client.images.remove(tag)


@pytest.fixture(scope=MODULE)
def deployment(
    worker_containers: list[fleet.Worker],
    start: Callable[..., fleet.Worker],
    database_container: fleet.Database,
    store: S3Server,
) -> Iterator[Deployment]:
    """The fleet with its ledger, its beat and an empty table."""
    service = Service(database_container.url("rekey"), store, table="assets", bucket="assets")
    service.table.create()
    made = Deployment(service, worker_containers[0], settings={})
    made.rekey("init")
    start("python", "-m", "workers", "beat")
    yield made
    service.close()


@pytest.fixture(scope=MODULE)
def another(
    start: Callable[..., fleet.Worker], environ: dict[str, str], database_container: fleet.Database, store: S3Server
) -> Iterator[Callable[..., Deployment]]:
    """Makes a deployment with a database and a bucket of its own, on the same Redis; its commands are those of the image *tag*."""
    made: list[Deployment] = []

    def one(name: str, *, tag: str = IMAGE, **settings: str) -> Deployment:
        fleet.make_database(database_container.url("postgres"), name)
        own = settings | {"REKEY_DATABASE_URL": f"{environ['REKEY_DATABASE_URL'].rpartition('/')[0]}/{name}", "REKEY_S3_BUCKET": name}
        service = Service(database_container.url(name), store, table="assets", bucket=name)
        service.table.create()
        made.append(Deployment(service, start("sleep", "infinity", tag=tag, **own), settings=own))
        made[-1].rekey("init")
        return made[-1]

    yield one
    for deployment in made:
        deployment.service.close()


@pytest.fixture
def celery_setup_cls() -> type[Setup]:
    """The plugin's set-up, with our prefix."""
    return Setup


@pytest.fixture
def celery_broker_cluster(broker_container: fleet.Broker) -> CeleryBrokerCluster:
    """Redis."""
    return CeleryBrokerCluster(RedisTestBroker(broker_container))


@pytest.fixture
def celery_backend_cluster() -> None:
    """No results are kept anywhere."""


@pytest.fixture
def celery_worker_cluster(worker_containers: list[fleet.Worker], celery_setup_app: Celery) -> CeleryWorkerCluster:
    """The stages' workers."""
    return CeleryWorkerCluster(*[CeleryTestWorker(each, celery_setup_app) for each in worker_containers])
