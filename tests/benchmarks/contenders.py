"""The two programs that are compared: each moves all assets of a field once and tells how long it took and what it cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psycopg

from tests.benchmarks import cpu
from tests.benchmarks.ground import ACCESS, SECRET, TABLE, Field, Ground, program
from tests.integration.processes import role_of

ROOT = Path(__file__).resolve().parents[2]
SEEDGO = ROOT.parent / "shared" / "peers" / "seedgo"
PATIENCE_SECONDS = 900.0
POLL_SECONDS = 0.25
STAGES = ("seed", "copy", "rename", "delete")


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
        """CPU milliseconds an asset, of all parts together."""
        return 1000 * sum(self.cpu.values()) / self.assets


def build_seedgo(cache: Path) -> Path:
    """The peer's program, built once into *cache*."""
    target = cache / "seedgo"
    if not target.exists():
        if not SEEDGO.is_dir():
            sys.exit(f"benchmark: {SEEDGO} is not there")
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run([program("go"), "build", "-o", str(target), "."], cwd=SEEDGO, check=True)
    return target


def run_seedgo(binary: Path, ground: Ground, at: Field) -> Turn:
    """One turn of the peer, with its own defaults (100 copy, 10 rename, 100 delete)."""
    before = ground.cpu()
    children, asked = os.times(), ground.requests()
    command = [str(binary), "-endpoint", ground.minio, "-bucket", at.bucket, "-dsn", ground.dsn, "-table", TABLE]
    done = subprocess.run([*command, "-access", ACCESS, "-secret", SECRET], check=True, capture_output=True, text=True)
    after, ended = ground.cpu(), os.times()
    said = json.loads(done.stdout)
    if said["deleted"] != at.assets:
        sys.exit(f"benchmark: the peer deleted {said['deleted']} of {at.assets}: {done.stderr[:500]}")
    own = ended.children_user + ended.children_system - children.children_user - children.children_system
    spent = {"client": own} | {name: after[name] - before[name] for name in before}
    return Turn(name="seedgo", assets=at.assets, seconds=said["seconds"], cpu=spent, requests=_more(asked, ground.requests()))


def environment(ground: Ground, bucket: str, more: Mapping[str, str]) -> dict[str, str]:
    """The product's settings: its defaults, all checks on, no grace."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("REKEY_")}
    return (
        bare
        | {
            "REKEY_DATABASE_URL": ground.dsn,
            "REKEY_BROKER_URL": f"redis://{ground.redis}/0",
            "REKEY_S3_ENDPOINT": f"http://{ground.minio}",
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


def run_product(ground: Ground, at: Field, *, folder: Path, more: Mapping[str, str]) -> Turn:
    """One turn of the product: workers started beforehand, then ``rekey enqueue``, until its run is finished."""
    environ = environment(ground, at.bucket, more)
    rekey = [sys.executable, "-m", "app"]
    subprocess.run([*rekey, "init"], env=environ, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    with (folder / f"{at.bucket}.log").open("wb") as log, workers(environ, log) as supervisor:
        stages = by_stage(supervisor)
        before = ground.cpu() | {"client": cpu.cpu_seconds(supervisor)}
        parts = {name: cpu.cpu_seconds(pid) for name, pid in stages.items()}
        children, asked = os.times(), ground.requests()
        subprocess.run([*rekey, "enqueue"], env=environ, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        ended = os.times()
        _wait(ground)
        after = ground.cpu() | {"client": cpu.cpu_seconds(supervisor)}
        spent = {name: after[name] - before[name] for name in before}
        spent["client"] += ended.children_user + ended.children_system - children.children_user - children.children_system
        parts = {name: cpu.cpu_seconds(pid) - parts[name] for name, pid in stages.items()}
        peaks = {name: cpu.peak_mib(pid) for name, pid in stages.items()}
        seconds, run_seconds = _times(ground, at)
    return Turn(
        name="product",
        assets=at.assets,
        seconds=seconds,
        cpu=spent,
        run_seconds=run_seconds,
        peaks=peaks,
        client_parts=parts,
        requests=_more(asked, ground.requests()),
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
