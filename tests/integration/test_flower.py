"""The dashboard on a real Redis with a real worker: behind a login, on loopback, readable."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.integration.processes import Process, Redis, environment, free_port, redis_server, run, running, wait_until

LOGIN = ("admin", "flower-word")
SEND = """
from app import celery
from app.celery_app import send

celery.loader.import_default_modules()
import probes

send(probes.quick, "prod", "7f3a", [1001, 1002, 1003])
"""

FLOOD_ID = "00000000-0000-0000-0000-{:012d}"
FLOOD = """
import os, sys, time
from kombu import Connection, Exchange, Producer

count = int(sys.argv[1])
told = {"hostname": "copy@flood", "pid": 1, "utcoffset": 0}
text = "run 7f3a0001 \\u00b7 200 moves from 1001"
options = {"global_keyprefix": "rekey:", "priority_steps": [0]}
with Connection(os.environ["REKEY_BROKER_URL"], transport_options=options) as connection:
    producer = Producer(connection.channel(), Exchange("celeryev", type="fanout"), serializer="json")
    for start in range(0, count, 500):
        batch = []
        for number in range(start, min(start + 500, count)):
            own = {"uuid": f"00000000-0000-0000-0000-{number:012d}", "clock": number, "timestamp": time.time()} | told
            batch.append(own | {"type": "task-received", "name": "copy_objects", "args": text, "kwargs": "{}", "retries": 0})
            batch.append(own | {"type": "task-succeeded", "result": "'done 200: 200 copied, none parked, none left'", "runtime": 0.2})
        producer.publish(batch, routing_key="task.multi")
"""


@pytest.fixture
def broker() -> Iterator[Redis]:
    """A Redis of the test's own."""
    with redis_server() as server:
        yield server


@pytest.fixture
def environ(broker: Redis, tmp_path: Path) -> dict[str, str]:
    """A deployment on that Redis; Flower is to use a free port."""
    return environment(broker.url, tmp_path, FLOWER_PORT=str(free_port()))


@contextmanager
def flower(environ: dict[str, str], folder: Path) -> Iterator[tuple[str, Process]]:
    """Flower and its address, once it answers."""
    url = f"http://127.0.0.1:{environ['FLOWER_PORT']}"
    with running("celery", "-A", "app", "flower", environ=environ, folder=folder, name="flower") as process:
        process.wait_for("Visit me at")
        wait_until(lambda: requests.get(f"{url}/healthcheck", timeout=5).ok)
        yield url, process


def listening(port: int) -> set[str]:
    """The addresses on which this machine listens on *port*, as the kernel writes them."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text(encoding="ascii").splitlines()[1:]]
    return {fields[1].rpartition(":")[0] for fields in lines if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port}


def test_flower_without_a_login_is_refused_in_one_line(environ: dict[str, str]) -> None:
    """It says what to set."""
    refused = run("celery", "-A", "app", "flower", environ=environ)

    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "FLOWER_BASIC_AUTH=user:password" in refused.stderr


def test_flower_opens_if_the_operator_says_so(environ: dict[str, str], tmp_path: Path) -> None:
    """Still on loopback only, and its API stays closed."""
    with flower(environ | {"REKEY_FLOWER_OPEN": "1"}, tmp_path) as (url, _):
        assert requests.get(f"{url}/workers", timeout=10).status_code == 200
        assert requests.get(f"{url}/api/workers", timeout=10).status_code == 401
        assert listening(int(environ["FLOWER_PORT"])) == {"0100007F"}


def test_flower_asks_for_its_login_everywhere_but_for_metrics_and_health(environ: dict[str, str], tmp_path: Path) -> None:
    """The two are open by Flower's design: they show numbers and names, no arguments."""
    with flower(environ | {"FLOWER_BASIC_AUTH": ":".join(LOGIN)}, tmp_path) as (url, process):
        for page in ("", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks"):
            assert requests.get(url + page, timeout=10).status_code == 401, page
            assert requests.get(url + page, timeout=10, auth=("admin", "wrong")).status_code == 401, page
            assert requests.get(url + page, timeout=10, auth=LOGIN).status_code == 200, page
        assert requests.post(f"{url}/api/worker/shutdown/copy@host", timeout=10).status_code == 401
        elsewhere = {"Origin": "http://another.test"}  # a page that the operator's browser has open besides
        assert requests.post(f"{url}/api/worker/shutdown/copy@host", timeout=10, auth=LOGIN, headers=elsewhere).status_code == 403
        assert requests.get(f"{url}/metrics", timeout=10).status_code == 200
        assert requests.get(f"{url}/healthcheck", timeout=10).status_code == 200
        assert listening(int(environ["FLOWER_PORT"])) == {"0100007F"}
        assert "flower-word" not in process.output()
        assert "flower-word" not in Path(f"/proc/{process.pid}/cmdline").read_text(encoding="utf-8")


def test_flower_takes_its_login_from_a_file_and_no_secret_of_the_stages(environ: dict[str, str], tmp_path: Path) -> None:
    """It needs the broker and nothing else."""
    secret = tmp_path / "login"
    secret.write_text(":".join(LOGIN), encoding="utf-8")
    bare = {name: value for name, value in environ.items() if not name.startswith(("REKEY_S3", "REKEY_DATABASE", "REKEY_TABLE"))}
    with flower(bare | {"FLOWER_BASIC_AUTH_FILE": str(secret)}, tmp_path) as (url, _):
        assert requests.get(f"{url}/workers", timeout=10).status_code == 401
        assert requests.get(f"{url}/workers", timeout=10, auth=LOGIN).status_code == 200


def test_flower_shows_what_a_task_worked_on_and_what_came_of_it(environ: dict[str, str], tmp_path: Path) -> None:
    """Readable arguments and the returned text, with results kept nowhere; queue lengths in spite of the prefix; bounded (case 45)."""
    watched = environ | {"FLOWER_BASIC_AUTH": ":".join(LOGIN), "FLOWER_MAX_TASKS": "50"}
    worker_command = ("celery", "-A", "app", "worker", "-Q", "copy", "-l", "INFO", "-I", "probes")
    with flower(watched, tmp_path) as (url, _), running(*worker_command, environ=environ, folder=tmp_path, name="worker") as worker:
        worker.wait_for(" ready.")
        (tmp_path / "sender.py").write_text(SEND, encoding="utf-8")
        assert run("sender", environ=environ | {"PYTHONPATH": os.pathsep.join([environ["PYTHONPATH"], str(tmp_path)])}).returncode == 0
        worker.wait_for("succeeded")
        wait_until(lambda: finished_tasks(url))

        task = finished_tasks(url)[0]
        queues = requests.get(f"{url}/api/queues/length", timeout=10, auth=LOGIN).json()["active_queues"]
        flood(environ, tmp_path, 1000)
        wait_until(lambda: requests.get(f"{url}/api/task/info/{FLOOD_ID.format(999)}", timeout=10, auth=LOGIN).ok)
        kept = requests.get(f"{url}/api/tasks", timeout=10, auth=LOGIN).json()

    assert len(kept) == 50
    assert task["args"] == "run 7f3a · 3 moves from 1001"
    assert task["kwargs"] == "{}"
    assert "done" in task["result"]
    assert {"name": "copy", "messages": 0} in queues


def flood(environ: dict[str, str], folder: Path, count: int) -> None:
    """Tell of so many tasks that came and succeeded."""
    (folder / "flood.py").write_text(FLOOD, encoding="utf-8")
    path = os.pathsep.join([environ["PYTHONPATH"], str(folder)])
    assert run("flood", str(count), environ=environ | {"PYTHONPATH": path}).returncode == 0


def finished_tasks(url: str) -> list[dict[str, str]]:
    """Tasks that Flower has seen to succeed."""
    return [task for task in requests.get(f"{url}/api/tasks", timeout=10, auth=LOGIN).json().values() if task["state"] == "SUCCESS"]
