"""Whether more copy workers get more done: ``python -m tests.benchmarks.workers --workers 1,2,4`` on a store 50 ms away.

Each number in turn copies as many assets a worker, with few tasks a worker, so that the store's distance is the bound and the processors
are not. The rate is that of the middle four fifths of the copies, by the ledger's times; nothing is renamed or deleted meanwhile.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.benchmarks import cpu
from tests.benchmarks.contenders import PARTS, PATIENCE_SECONDS, POLL_SECONDS, ROOT, environment
from tests.benchmarks.ground import Field, Ground, servers

GOAL = 0.9  # of linear
FULL = 0.9  # of the processors: beyond that more workers cannot help
BATCH = 20  # assets a message, so that all tasks have some
EDGE = 0.1  # of the copies at both ends are left out: there not all tasks have work


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What so many workers got done."""

    workers: int
    rate: float  # copies a second
    busy: float  # of all processors
    cost: Mapping[str, float]  # CPU ms an asset by part


def main(args: Sequence[str]) -> int:
    """Measure each number; exit 1 where one is below GOAL of linear and the processors were not full."""
    options = _options(args)
    found: list[Found] = []
    with tempfile.TemporaryDirectory(prefix="rekey-bench-") as text:
        folder = Path(text)
        folder.chmod(0o755)
        with servers(folder, delay_ms=options.delay_ms) as ground:
            for number in map(int, options.workers.split(",")):
                at = Field(ground=ground, bucket=f"workers-{number}", assets=number * options.assets, size=4096)
                at.prepare()
                more = {"REKEY_COPY_CONCURRENCY": str(options.tasks), "REKEY_BATCH_SIZE": str(BATCH), "TMPDIR": str(folder)}
                found.append(_measure(number, ground, environment(ground, at.bucket, more), folder=folder, assets=at.assets))
                at.clear()
                print(line(found[-1], found[0]), flush=True)  # noqa: T201 - the program's output
    return 0 if all(share(each, found[0]) >= GOAL or each.busy >= FULL for each in found) else 1


def _options(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.workers", description=__doc__)
    parser.add_argument("--workers", default="1,2,4", help="how many copy workers there are, in turn (1,2,4)")
    parser.add_argument("--tasks", type=int, default=4, help="tasks at once in each (4)")
    parser.add_argument("--assets", type=int, default=2_000, help="objects for each worker (2000)")
    parser.add_argument("--delay-ms", type=float, default=50, help="milliseconds that each round trip to the store takes longer (50)")
    return parser.parse_args(args)


def share(each: Found, first: Found) -> float:
    """The rate, to that of as many workers as the first would make."""
    return each.rate / each.workers / (first.rate / first.workers)


def line(each: Found, first: Found) -> str:
    """What was found, to what one worker gets done."""
    parts = ", ".join(f"{part} {each.cost[part]:.2f}" for part in PARTS)
    return (
        f"{each.workers} workers: {each.rate:.0f} copies/s, {share(each, first):.2f} of linear, {each.busy:.0%} of the processors; "
        f"CPU ms an asset: {parts}"
    )


def _measure(number: int, ground: Ground, environ: dict[str, str], *, folder: Path, assets: int) -> Found:
    subprocess.run([sys.executable, "-m", "app", "init"], env=environ, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    with ExitStack() as stack:
        started = [
            stack.enter_context(_worker(f"copy-{place}", ["copy", "-n", f"copy-{place}@%h"], environ, folder)) for place in range(number)
        ]
        stack.enter_context(_worker("seed", ["seed"], environ, folder))
        stack.enter_context(_worker("beat", ["beat"], environ, folder))
        before = ground.cpu() | {"client": sum(map(cpu.cpu_seconds, started))}
        begun = time.monotonic()
        subprocess.run([sys.executable, "-m", "app", "enqueue"], env=environ, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        with psycopg.connect(ground.dsn, autocommit=True) as connection:
            _wait(connection, assets)
            seconds = time.monotonic() - begun
            after = ground.cpu() | {"client": sum(map(cpu.cpu_seconds, started))}
            rate = _rate(connection, assets)
    spent = {name: after[name] - before[name] for name in before}
    busy = sum(spent.values()) / seconds / (os.cpu_count() or 1)
    return Found(workers=number, rate=rate, busy=busy, cost={name: 1000 * each / assets for name, each in spent.items()})


@contextmanager
def _worker(name: str, args: Sequence[str], environ: Mapping[str, str], folder: Path) -> Iterator[int]:
    """A worker or beat of its own, from when it consumes; gives its process id."""
    own = folder / name
    own.mkdir(exist_ok=True)
    environ = {**environ, "TMPDIR": str(own)}
    with (own / "log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "workers", *args], env=environ, cwd=ROOT, stdout=log, stderr=log)
        try:
            until = time.monotonic() + 60
            ready = [sys.executable, "-m", "workers", "health", args[0]]
            while subprocess.run(ready, env=environ, cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode:
                if time.monotonic() > until or process.poll() is not None:
                    sys.exit(f"benchmark: {name} did not start: {(own / 'log').read_text()[-500:]}")
                time.sleep(0.5)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def _wait(connection: psycopg.Connection[tuple[int]], assets: int) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while connection.execute("SELECT count(*) FROM rekey_moves WHERE state = 'copied'").fetchone() != (assets,):
        if time.monotonic() > until:
            sys.exit("benchmark: the copies do not end")
        time.sleep(POLL_SECONDS)


def _rate(connection: psycopg.Connection[tuple[int]], assets: int) -> float:
    times = [at for (at,) in connection.execute("SELECT updated_at FROM rekey_moves ORDER BY updated_at")]
    first, last = int(assets * EDGE), int(assets * (1 - EDGE)) - 1
    return (last - first) / ((times[last] - times[first]) / 1e6)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
