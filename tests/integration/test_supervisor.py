"""``python -m workers``: all stages and beat as children of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.processes import (
    Process,
    Redis,
    children_of,
    environment,
    health,
    is_alive,
    redis_server,
    role_of,
    running,
    wait_until,
)


@pytest.fixture
def broker() -> Iterator[Redis]:
    """A Redis of the test's own."""
    with redis_server() as server:
        yield server


@pytest.fixture
def environ(broker: Redis, tmp_path: Path) -> dict[str, str]:
    """A deployment on that Redis."""
    return environment(broker.url, tmp_path)


def kill_all(pids: list[int]) -> None:
    """End what a failed test has left running."""
    for pid in pids:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def supervisor(environ: dict[str, str], tmp_path: Path) -> Iterator[Process]:
    """All workers and beat, come up."""
    with running("workers", environ=environ, folder=tmp_path) as process:
        process.wait_for(" ready.", times=4)
        process.wait_for("beat: Starting")
        children = children_of(process.pid)
        yield process
        if is_alive(process.pid):
            children += children_of(process.pid)
    kill_all(children)


def test_all_workers_and_beat_run_as_children(supervisor: Process, environ: dict[str, str]) -> None:
    """Four stages and beat, each with a title of its own, each seen to work."""
    assert sorted(str(role_of(pid)) for pid in children_of(supervisor.pid)) == ["beat", "copy", "delete", "rename", "seed"]
    for name in ("seed", "copy", "rename", "delete", "beat"):
        wait_until(lambda name=name: health(environ, name) == (0, "consuming"))


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signal_to_the_supervisor_ends_all(signum: int, status: int, supervisor: Process) -> None:
    """It waits for its children and says truly how they ended."""
    children = children_of(supervisor.pid)

    supervisor.send_signal(signum)

    assert supervisor.wait(seconds=30) == status
    assert supervisor.output().count("worker stopped") == 4
    assert not any(is_alive(pid) for pid in children)


def test_dead_child_is_started_again(supervisor: Process) -> None:
    """With the reason in the log."""
    children = children_of(supervisor.pid)

    os.kill(children[1], signal.SIGKILL)

    supervisor.wait_for("copy ended (killed by SIGKILL); starting it again")
    supervisor.wait_for("worker copy@", times=2)
    assert len(set(children_of(supervisor.pid)) - set(children)) == 1


BORN_STOPPED = """
import os, signal, time
from workers.supervisor import Child, Forked, Supervisor

fork = os.fork

def fork_and_stop():
    pid = fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    return pid

os.fork = fork_and_stop
child = Child("copy")
signal.signal(signal.SIGTERM, lambda *_: None)  # as the supervisor's own, which notes it and goes on
try:
    child.start()
except Forked:
    time.sleep(5)
    os._exit(0)
while child.is_running():
    time.sleep(0.01)
print(child.status)
"""


def test_signal_at_the_very_start_of_a_child_is_not_lost(environ: dict[str, str], tmp_path: Path) -> None:
    """It is the child's from the fork on, not for the handler that it has from its parent."""
    script = tmp_path / "born_stopped.py"
    script.write_text(BORN_STOPPED, encoding="utf-8")
    ended = subprocess.run([sys.executable, script], env=environ, capture_output=True, text=True, timeout=60, check=False)

    assert (ended.stdout, ended.stderr) == (f"{-signal.SIGTERM}\n", "")


def test_killed_supervisor_leaves_nothing_running(supervisor: Process) -> None:
    """The kernel tells the children."""
    children = children_of(supervisor.pid)

    supervisor.send_signal(signal.SIGKILL)

    wait_until(lambda: not any(is_alive(pid) for pid in children), seconds=20)


def test_two_signals_end_a_stuck_worker_and_the_status_tells(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """A worker that had to be ended is no success."""
    with running("workers", environ=environ | {"CELERY_WORKER_INCLUDE": "probes"}, folder=tmp_path) as process:
        process.wait_for(" ready.", times=4)
        children = children_of(process.pid)
        broker.send("stuck", 1)
        process.wait_for("stuck begins")
        process.send_signal(signal.SIGTERM)
        process.wait_for("worker stopped", times=3)

        process.send_signal(signal.SIGTERM)
        status = process.wait(seconds=20)

        assert status == 1
        assert "copy ended (exit status 143)" in process.output()
        assert not any(is_alive(pid) for pid in children)


def test_one_stage_s_worker_passes_celery_s_options_on(environ: dict[str, str], tmp_path: Path) -> None:
    """``python -m workers copy -c 3`` is that worker itself: signals and exit status are its own."""
    with running("workers", "copy", "-c", "3", environ=environ, folder=tmp_path) as worker:
        worker.wait_for("consumes copy, 3 tasks at once")

        worker.send_signal(signal.SIGTERM)

        assert worker.wait() == 0


def test_logs_hold_no_secrets_and_can_be_json(broker: Redis, tmp_path: Path) -> None:
    """The password in the broker's URL is shown nowhere; a task's record says its stage, run and batch, any other does not."""
    broker.client.config_set("requirepass", "hidden-word")
    broker.url = broker.url.replace("redis://", "redis://:hidden-word@")
    with running("workers", "copy", environ=environment(broker.url, tmp_path, REKEY_LOG_FORMAT="json"), folder=tmp_path) as worker:
        worker.wait_for('"action": "worker_started"')
        broker.send("copy_objects", 1)
        worker.wait_for('"action": "batch_released"')
        records = [json.loads(line) for line in worker.output().splitlines() if line.startswith("{")]
        by_action = {record["action"]: record for record in records if "action" in record}
        stopped, started = by_action["batch_released"], by_action["worker_started"]
        assert (stopped["stage"], stopped["run_id"]) == ("copy", "run")
        assert stopped["batch"] in next(record["message"] for record in records if " received" in record["message"])
        assert not {"stage", "run_id", "batch"} & set(started)

        shown = worker.output() + Path(f"/proc/{worker.pid}/cmdline").read_text(encoding="utf-8")
    assert "hidden-word" not in shown
    assert "very-secret" not in shown
