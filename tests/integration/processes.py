"""A Redis of the test's own, and worker processes started as a user starts them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
from celery import Celery

from app.embedded.server import free_ports

ROOT = Path(__file__).parents[2]
PREFIX = "rekey:"
WORKER = ("celery", "-A", "app", "worker", "-l", "INFO", "--without-mingle", "--without-gossip")
SHORT = {"REKEY_VISIBILITY_TIMEOUT_SECONDS": "6", "REKEY_LEASE_SECONDS": "4", "REKEY_REQUEST_TIMEOUT_SECONDS": "2"}

# Tasks that stand in for the stages': quick, patient (ends when the worker is asked to stop), stuck (hears nothing), short (a second).
PROBES = """
import time
from app.celery_app import celery
from app.stopping import stopping


@celery.task(name="quick", queue="copy")
def quick(deployment, run_id, ids):
    return "done"


@celery.task(name="patient", queue="copy")
def patient(deployment, run_id, ids):
    print("patient begins", flush=True)
    return "handed back" if stopping.wait(120) else "waited in vain"


@celery.task(name="stuck", queue="copy")
def stuck(deployment, run_id, ids):
    print("stuck begins", flush=True)
    time.sleep(120)


@celery.task(name="short", queue="copy")
def short(deployment, run_id, ids):
    time.sleep(1)
    return "done"
"""
# What a second signal must call before the process ends; the ledger itself is not there.
SPIES = """
from app import resources

resources.release_leases = lambda: print("leases are given back", flush=True)
"""


def free_port() -> int:
    """A TCP port that nobody uses."""
    (port,) = free_ports(1)
    return port


def wait_until(what: Callable[[], object], *, seconds: float = 30, told: Callable[[], object] = str) -> None:
    """Wait for a condition; if it does not come true, fail the test and say what *told* knows of it."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds} s: {told()}"
        time.sleep(0.05)


class Redis:
    """One redis-server, empty at the start; ``client`` asks it."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = ["redis-server", "--port", str(self.port), "--save", "", "--dir", str(folder)]
        self.client = redis.Redis(port=self.port, socket_timeout=5)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it (again)."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_until(self._answers)

    def stop(self) -> None:
        """Kill it."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def send_signal(self, signum: int) -> None:
        """Stop it or let it go on."""
        assert self._process
        self._process.send_signal(signum)

    def waiting(self, queue: str = "copy") -> int:
        """Messages in a queue."""
        return int(self.client.llen(f"{PREFIX}{queue}"))

    def unacknowledged(self) -> int:
        """Messages that workers hold."""
        return int(self.client.hlen(f"{PREFIX}unacked"))

    def send(self, task: str, *ids: int) -> None:
        """Publish one message as the product does."""
        app = Celery("test", broker=self.url, set_as_current=False)
        app.conf.broker_transport_options = {"global_keyprefix": PREFIX, "priority_steps": [0]}
        with app.connection_for_write() as connection:
            app.send_task(task, ("test", "run", list(ids)), queue="copy", ignore_result=True, connection=connection)

    def _answers(self) -> bool:
        with suppress(redis.ConnectionError, redis.TimeoutError):
            return bool(self.client.ping())
        return False


class Process:
    """A process whose output goes to a file."""

    def __init__(self, command: Sequence[str], *, environ: Mapping[str, str], folder: Path, name: str = "output") -> None:
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                list(command), stdout=output, stderr=subprocess.STDOUT, env=dict(environ), cwd=ROOT, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def output(self) -> str:
        """What it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, text: str, *, times: int = 1, seconds: float = 40) -> None:
        """Wait until it has written *text*."""
        end = time.monotonic() + seconds
        while self.output().count(text) < times:
            assert self._process.poll() is None, f"ended with {self._process.returncode}:\n{self.output()}"
            assert time.monotonic() < end, f"no {text!r} within {seconds} s:\n{self.output()}"
            time.sleep(0.05)

    def send_signal(self, signum: int) -> None:
        """Send it a signal."""
        self._process.send_signal(signum)

    def wait(self, *, seconds: float = 30) -> int:
        """Its exit status, once it has ended."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {seconds} s:\n{self.output()}")

    def kill(self) -> None:
        """End it and all of its session."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def running(*args: str, environ: Mapping[str, str], folder: Path, name: str = "output") -> Iterator[Process]:
    """``python -m ARGS...`` for the length of a block."""
    process = Process([sys.executable, "-m", *args], environ=environ, folder=folder, name=name)
    try:
        yield process
    finally:
        process.kill()


def run(*args: str, environ: Mapping[str, str], cwd: Path = ROOT, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """``python -m ARGS...`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", *args], env=dict(environ), cwd=cwd, capture_output=True, text=True, timeout=seconds, check=False
    )


@contextmanager
def redis_server() -> Iterator[Redis]:
    """A Redis for the length of a block; where there is none the test is skipped, on CI it fails."""
    if shutil.which("redis-server") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no redis-server on PATH")
    with tempfile.TemporaryDirectory() as folder:
        server = Redis(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def environment(broker_url: str, folder: Path, **given: str) -> dict[str, str]:
    """The environment of a deployment whose database and store nobody asks; the probe tasks can be imported (``-I probes``)."""
    (folder / "probes.py").write_text(PROBES, encoding="utf-8")
    (folder / "spies.py").write_text(SPIES, encoding="utf-8")
    foreign = ("REKEY_", "CELERY_", "FLOWER_", "BROKER_URL")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)]),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(folder),
        "REKEY_BROKER_URL": broker_url,
        "REKEY_DATABASE_URL": f"sqlite:///{folder}/assets.db",
        "REKEY_S3_ENDPOINT": "http://127.0.0.1:9",
        "REKEY_S3_ACCESS_KEY": "access",
        "REKEY_S3_SECRET_KEY": "very-secret",
        "REKEY_S3_BUCKET": "assets",
        "REKEY_TABLE": "assets",
        **given,
    }


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children_of(pid: int) -> list[int]:
    """The direct children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def role_of(pid: int) -> str | None:
    """The stage of a worker, or "beat", by its title; None for what is neither, or is not there."""
    try:
        shown = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
    except OSError:
        return None
    found = re.search(r"-A app\b.*? (?:worker\b.* -Q (\w+)|(beat)\b)", shown)
    return found and (found[1] or found[2])


def health(environ: Mapping[str, str], *stage: str) -> tuple[int, str]:
    """Exit status and first line of ``python -m workers health``."""
    answer = run("workers", "health", *stage, environ=environ)
    return answer.returncode, answer.stdout.splitlines()[0]
