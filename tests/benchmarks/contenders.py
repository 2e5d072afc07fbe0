"""The programs that are compared: each moves all assets of a field once and tells how long it took and what it cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psycopg

from tests.benchmarks import cpu
from tests.benchmarks.ground import ACCESS, SECRET, TABLE, Field, Ground, find_program, new_key, old_key, program
from tests.integration.processes import role_of

ROOT = Path(__file__).resolve().parents[2]
SEEDGO = ROOT.parent / "shared" / "peers" / "seedgo"
PATIENCE_SECONDS = 900.0
POLL_SECONDS = 0.25
STAGES = ("seed", "copy", "rename", "delete")
PARTS = ("client", "server", "database", "broker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools:
    """How many of each contender's requests of a kind are under way at once."""

    copy: int = 100
    rename: int = 10
    delete: int = 100

    def settings(self) -> dict[str, str]:
        """The same for the product."""
        return {f"REKEY_{stage.upper()}_CONCURRENCY": str(getattr(self, stage)) for stage in ("copy", "rename", "delete")}

    def flags(self) -> list[str]:
        """The same for the Go program."""
        return [text for stage in ("copy", "rename", "delete") for text in (f"-{stage}", str(getattr(self, stage)))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one contender did in one turn."""

    name: str
    assets: int
    seconds: float  # to the last delete
    cpu: Mapping[str, float]  # seconds: client, server, database, broker
    run_seconds: float | None = None  # by the product's own record, its last reconciler tick included
    peaks: Mapping[str, float] = field(default_factory=dict)  # MiB of each worker process
    client_parts: Mapping[str, float] = field(default_factory=dict)  # CPU seconds of each worker process
    requests: Mapping[str, int] = field(default_factory=dict)  # by their kind, as MinIO counts them

    @property
    def rate(self) -> float:
        """Assets per second."""
        return self.assets / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds an asset, of all parts together; a delay before the store is no part of anything."""
        return 1000 * sum(self.cpu[part] for part in PARTS) / self.assets

    @property
    def delay_ms(self) -> float:
        """What the delay cost of it beside them, which all contenders share the cores with."""
        return 1000 * self.cpu.get("delay", 0.0) / self.assets


def build_seedgo(cache: Path) -> Path:
    """The peer's program, built once into *cache*."""
    target = cache / "seedgo"
    if not target.exists():
        if not SEEDGO.is_dir():
            sys.exit(f"benchmark: {SEEDGO} is not there")
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run([program("go"), "build", "-o", str(target), "."], cwd=SEEDGO, check=True)
    return target


def find_s5cmd() -> Path | None:
    """Where ``make s5cmd`` has put it, or the one on the PATH."""
    found = find_program("s5cmd")
    return Path(found) if found else None


def run_seedgo(binary: Path, ground: Ground, at: Field, pools: Pools) -> Turn:
    """One turn of the Go program: copy, update, delete, each asset by itself."""
    command = [str(binary), "-endpoint", ground.endpoint, "-bucket", at.bucket, "-dsn", ground.dsn, "-table", TABLE, *pools.flags()]
    with _account(ground) as account:
        done = subprocess.run([*command, "-access", ACCESS, "-secret", SECRET], check=True, capture_output=True, text=True)
    said = json.loads(done.stdout)
    if said["deleted"] != at.assets:
        sys.exit(f"benchmark: the Go program deleted {said['deleted']} of {at.assets}: {done.stderr[:500]}")
    return Turn(name="seedgo", assets=at.assets, seconds=said["seconds"], cpu=account.spent, requests=account.requests)


def run_s5cmd(binary: Path, ground: Ground, at: Field) -> Turn:
    """One turn of ``s5cmd run`` with a line ``mv`` for each object and its own default of 256 workers; no row is switched."""
    lines = "".join(f"mv s3://{at.bucket}/{old_key(number)} s3://{at.bucket}/{new_key(number)}\n" for number in range(at.assets))
    command = [str(binary), "--endpoint-url", f"http://{ground.endpoint}", "--log", "error", "run"]
    environ = os.environ | {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
    with _account(ground) as account:
        begun = time.monotonic()
        subprocess.run(command, input=lines, check=True, env=environ, text=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - begun
    return Turn(name="s5cmd", assets=at.assets, seconds=seconds, cpu=account.spent, requests=account.requests)


@dataclass(slots=True)
class _Account:
    """What was spent meanwhile, and asked of the store."""

    spent: dict[str, float] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)


@contextmanager
def _account(ground: Ground, *, own: Callable[[], float] = lambda: 0.0) -> Iterator[_Account]:
    """CPU of the servers, of the processes that are waited for meanwhile and of *own* others, as the client."""
    account = _Account()
    before, children, others, asked = ground.cpu(), os.times(), own(), ground.requests()
    yield account
    after, ended, others_now = ground.cpu(), os.times(), own()
    account.spent = {name: after[name] - before[name] for name in before}
    account.spent["client"] = (
        ended.children_user + ended.children_system - children.children_user - children.children_system + others_now - others
    )
    account.requests = _more(asked, ground.requests())


def environment(ground: Ground, bucket: str, more: Mapping[str, str]) -> dict[str, str]:
    """The product's settings: its defaults, all checks on, no grace."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("REKEY_")}
    return (
        bare
        | {
            "REKEY_DATABASE_URL": ground.dsn,
            "REKEY_BROKER_URL": f"redis://{ground.redis}/0",
            "REKEY_S3_ENDPOINT": f"http://{ground.endpoint}",
            "REKEY_S3_ACCESS_KEY": ACCESS,
            "REKEY_S3_SECRET_KEY": SECRET,
            "REKEY_S3_BUCKET": bucket,
            "REKEY_TABLE": TABLE,
            "REKEY_KEY_COLUMN": "asset_name",
            "REKEY_GRACE_SECONDS": "0",
            "PYTHONPATH": str(ROOT),
        }
        | more
    )


@contextmanager
def workers(environ: Mapping[str, str], log: IO[bytes]) -> Iterator[int]:
    """All workers and beat as ``python -m workers`` starts them, from when all of them consume; gives the supervisor's process id."""
    process = subprocess.Popen([sys.executable, "-m", "workers"], env=dict(environ), cwd=ROOT, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        ready = [sys.executable, "-m", "workers", "health"]
        while (
            len(by_stage(process.pid)) < len(STAGES)
            or subprocess.run(ready, env=dict(environ), cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode
        ):
            if time.monotonic() > until or process.poll() is not None:
                sys.exit(f"benchmark: the workers did not start: {log.name}")
            time.sleep(0.5)
        time.sleep(2)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def by_stage(supervisor: int) -> dict[str, int]:
    """The worker process of each stage."""
    roles = {role_of(process.pid): process.pid for process in cpu.tree(supervisor)}
    return {stage: roles[stage] for stage in STAGES if stage in roles}


def run_product(name: str, ground: Ground, at: Field, *, folder: Path, more: Mapping[str, str]) -> Turn:
    """One turn of the product: workers started beforehand, then ``rekey enqueue``, until its run is finished."""
    environ = environment(ground, at.bucket, more)
    rekey = [sys.executable, "-m", "app"]
    subprocess.run([*rekey, "init"], env=environ, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    with (folder / f"{at.bucket}.log").open("wb") as log, workers(environ, log) as supervisor:
        stages = by_stage(supervisor)
        parts = {stage: cpu.cpu_seconds(pid) for stage, pid in stages.items()}
        with _account(ground, own=lambda: cpu.cpu_seconds(supervisor)) as account:
            subprocess.run([*rekey, "enqueue"], env=environ, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            _wait(ground)
        parts = {stage: cpu.cpu_seconds(pid) - parts[stage] for stage, pid in stages.items()}
        peaks = {stage: cpu.peak_mib(pid) for stage, pid in stages.items()}
        seconds, run_seconds = _times(ground, at)
    return Turn(
        name=name,
        assets=at.assets,
        seconds=seconds,
        cpu=account.spent,
        run_seconds=run_seconds,
        peaks=peaks,
        client_parts=parts,
        requests=account.requests,
    )


def _more(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    grown = {name: count - before.get(name, 0) for name, count in after.items()}
    return {name: count for name, count in grown.items() if count}


def _wait(ground: Ground) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    with psycopg.connect(ground.dsn, autocommit=True) as connection:
        while connection.execute("SELECT state FROM rekey_runs").fetchone() != ("finished",):
            if time.monotonic() > until:
                sys.exit("benchmark: the run does not end")
            time.sleep(POLL_SECONDS)


def _times(ground: Ground, at: Field) -> tuple[float, float]:
    """Seconds from the run's acceptance to its last delete, and to its end, by the database's clock."""
    with psycopg.connect(ground.dsn) as connection:
        found = connection.execute(
            "SELECT (SELECT max(updated_at) FROM rekey_moves WHERE state = 'deleted') - created_at, finished_at - created_at,"
            " (SELECT count(*) FROM rekey_moves WHERE state = 'deleted') FROM rekey_runs"
        ).fetchone()
    if found is None or found[2] != at.assets:
        sys.exit(f"benchmark: the product deleted {found and found[2]} of {at.assets}")
    return found[0] / 1e6, found[1] / 1e6
