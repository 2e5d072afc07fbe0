"""The parts of the containers' tests: worker containers as the plugin knows them, and a deployment driven and counted from outside."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_celery import CeleryTestContainer, CeleryTestSetup, CeleryWorkerContainer, RedisContainer
from sqlalchemy import create_engine

from tests.acceptance.service import Asset, Service
from tests.engine import IMAGE, ROOT
from tests.integration.processes import wait_until

if TYPE_CHECKING:
    from celery import Celery
    from docker import DockerClient

STAGES = ("seed", "copy", "rename", "delete")
PREFIX = "rekey:"
CONCURRENCY = {"seed": 1, "copy": 4, "rename": 2, "delete": 3}
QUICK = {
    "REKEY_TABLE": "assets",
    "REKEY_GRACE_SECONDS": "0",
    "REKEY_SETTLE_SECONDS": "1",
    "REKEY_LOOK_SECONDS": "1",
    "REKEY_RECONCILE_SECONDS": "1",
    "REKEY_HINT_SECONDS": "3",
    "REKEY_REQUEST_TIMEOUT_SECONDS": "2",
    "REKEY_LEASE_SECONDS": "4",
    "REKEY_VISIBILITY_TIMEOUT_SECONDS": "6",
}
# As docker-compose.yml starts them.
CONFINED: dict[str, Any] = {
    "init": True,
    "read_only": True,
    "tmpfs": {"/tmp": ""},  # noqa: S108 - in the container
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}
PATIENCE_SECONDS = 240.0  # of a busy machine with few cores
# What lies in the image as it is shipped, replaced by what a commit held: its code with today's packages.
_AGED = f"""
FROM {IMAGE}
USER 0
COPY app /old/app
COPY tasks /old/tasks
COPY workers /old/workers
RUN cd $(python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])') && rm -r app tasks workers && mv /old/* . && rmdir /old
USER 10001
"""


class Broker(RedisContainer):
    """Redis, by the port that is published: the plugin takes a machine with a /.dockerenv for a container."""

    @property
    def port(self) -> int:
        """The port on this machine; another one after each start."""
        wait_until(lambda: self.ready() and self.ports["6379/tcp"])
        return int(self.ports["6379/tcp"][0])


class Database(CeleryTestContainer):
    """PostgreSQL."""

    ready_prompt = "listening on IPv4"  # the first start, for its set-up, has the socket alone

    def url(self, name: str) -> str:
        """A database's URL for this machine."""
        return f"postgresql+psycopg://rekey:postgres0word@127.0.0.1:{self.ports['5432/tcp'][0]}/{name}"


class Worker(CeleryWorkerContainer):
    """A container of the shipped image; ready at once, since a fleet is waited for as a whole."""

    ready_prompt = None
    stage = ""

    @classmethod
    def worker_queue(cls) -> str:
        """The queue that it consumes."""
        return cls.stage

    @classmethod
    def worker_name(cls) -> str:
        """The first half of its node's name."""
        return cls.stage

    @property
    def health(self) -> str:
        """What the engine says of its health check."""
        self.reload()
        return str(self.attrs["State"]["Health"]["Status"])

    def run(self, *command: str) -> tuple[int, str]:
        """A command in it: exit status and output."""
        status, output = self.exec_run(list(command))
        return int(status), output.decode()

    def stop(self, *, seconds: int) -> int:
        """Ask it to end, as Compose does; gives its exit status."""
        self._container.stop(timeout=seconds)
        self.reload()
        return int(self.attrs["State"]["ExitCode"])


class SeedWorker(Worker):
    """The seed stage's."""

    stage = "seed"


class CopyWorker(Worker):
    """The copy stage's."""

    stage = "copy"


class RenameWorker(Worker):
    """The rename stage's."""

    stage = "rename"


class DeleteWorker(Worker):
    """The delete stage's."""

    stage = "delete"


class Setup(CeleryTestSetup):
    """The plugin's set-up with an app that has our prefix, and so sees our queues and events."""

    @classmethod
    def update_app_config(cls, app: Celery) -> None:
        """Add to what the plugin has configured."""
        app.conf.update(broker_transport_options={"global_keyprefix": PREFIX, "priority_steps": [0]})


class Deployment:
    """One table and bucket, and the container that its commands are run in."""

    def __init__(self, service: Service, shell: Worker, *, settings: Mapping[str, str]) -> None:
        self.service = service
        self.settings = settings
        self._shell = shell
        self.assets: list[Asset] = []

    def rekey(self, *args: str) -> str:
        """``rekey ARGS...`` to its end."""
        status, output = self._shell.run("rekey", *args)
        assert status == 0, output
        return output

    def begin(self, assets: Sequence[Asset], *flags: str) -> list[Asset]:
        """Start a run over *assets*, just added, and those of the runs before."""
        self.assets += assets
        self.rekey("enqueue", *flags)
        return list(assets)

    def fill(self, count: int) -> list[Asset]:
        """More assets."""
        return self.service.fill(count, first=len(self.assets) + 1)

    def copied(self, assets: Sequence[Asset]) -> int:
        """How many of *assets* have their copy."""
        return len({asset.new_key for asset in assets} & self.service.bucket.keys())

    def wait_for_copies(self, assets: Sequence[Asset], share: float) -> int:
        """Wait until so many of *assets* are copied; how many then."""
        wait_until(lambda: self.copied(assets) >= share * len(assets), seconds=PATIENCE_SECONDS)
        found = self.copied(assets)
        assert found < len(assets), "too late: all are copied"
        return found

    def hasten(self) -> None:
        """Lift the bound that the run was begun with; one that has ended meanwhile has no need of it."""
        self._shell.run("rekey", "set", "copy_rate=0")

    def finish(self) -> dict[str, Any]:
        """Wait for the run's end."""
        reports: list[dict[str, Any]] = []

        def is_over() -> bool:
            reports.append(json.loads(self.rekey("status", "--json")))
            return reports[-1]["state"] != "running"

        wait_until(is_over, seconds=PATIENCE_SECONDS)
        return reports[-1]


def consuming(log: str, stages: Sequence[str]) -> bool:
    """Whether a container has said that each of its workers consumes."""
    return all(f"{stage}@" in log and f" consumes {stage}," in log for stage in stages)


def aged_image(client: DockerClient, commit: str) -> str:
    """The image with the code of *commit*."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", commit, "app", "tasks", "workers"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    context = io.BytesIO(archive)
    with tarfile.open(fileobj=context, mode="a") as tar:
        recipe = tarfile.TarInfo("Dockerfile")
        recipe.size = len(_AGED)
        tar.addfile(recipe, io.BytesIO(_AGED.encode()))
    context.seek(0)
    tag = f"asset-rekey:{commit[:12]}"
    client.images.build(fileobj=context, custom_context=True, tag=tag, rm=True)
    return tag


def make_database(url: str, name: str) -> None:
    """Create an empty database; *url* is of another one."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
