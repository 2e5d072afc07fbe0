"""How soon workers under full load hear of ``pause``, ``resume``, ``cancel``, ``set``: ``python -m tests.benchmarks.pause_speed``.

A run of so many assets is let go until all stages are at work; then the command is typed. Seconds count from its change of the ledger
(seen by asking every 10 ms) to the last request that each worker process sent to the store (``ss`` knows of each socket when it sent last)
and to the last change that any of them made in the ledger. Both clocks are this machine's.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.benchmarks.compare import FEWER_TASKS
from tests.benchmarks.contenders import ROOT, by_stage, environment, workers
from tests.benchmarks.ground import Field, Ground, servers

GOAL_SECONDS = 5.0
QUIET_SECONDS = 12.0  # nothing may come after so long
BUSY_SHARE = 0.1  # of the assets are moved when the command is typed
RATE = 20  # copies a second that `set` bounds a run to
_SOCKET = re.compile(r"pid=(\d+).*\n.*?lastsnd:(\d+)")


class Sockets:
    """When each worker process sent something to the store last, by the system's clock."""

    def __init__(self, ground: Ground, pids: Mapping[str, int]) -> None:
        self._port = ground.minio.rpartition(":")[2]
        self._pids = {pid: stage for stage, pid in pids.items()}
        self.last: dict[str, float] = {}

    def look(self) -> None:
        """Ask the system; what a socket that is closed by now has sent was seen before."""
        now = time.time()
        said = subprocess.run(["ss", "-tinp", "dst", f"127.0.0.1:{self._port}"], capture_output=True, text=True, check=True).stdout
        for pid, ago in _SOCKET.findall(said):
            stage = self._pids.get(int(pid))
            if stage is not None:
                self.last[stage] = max(self.last.get(stage, 0.0), now - int(ago) / 1000)


def main(args: Sequence[str]) -> int:
    """Measure pause, cancel and set, each on a run of its own; exit 1 where one took longer than its goal."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.pause_speed", description=__doc__)
    parser.add_argument("--assets", type=int, default=10_000, help="objects in the bucket (10000)")
    parser.add_argument("--only", choices=["pause", "cancel", "set"], action="append", help="only this command")
    parser.add_argument("--defaults", action="store_true", help="the default concurrencies (100, 10, 100) instead of 16, 4, 4")
    options = parser.parse_args(args)
    more = {} if options.defaults else FEWER_TASKS
    measures: dict[str, Callable[[Ground, Mapping[str, str], Sockets], float]] = {"pause": _pause, "cancel": _cancel, "set": _set}
    longest = 0.0
    with tempfile.TemporaryDirectory(prefix="rekey-bench-") as text:
        folder = Path(text)
        folder.chmod(0o755)
        with servers(folder) as ground:
            for name in options.only or measures:
                at = Field(ground=ground, bucket=f"{name}-speed", assets=options.assets, size=4096)
                at.prepare()
                with _under_load(ground, at, folder, more) as (environ, sockets):
                    longest = max(longest, measures[name](ground, environ, sockets))
                at.clear()
    return 0 if longest <= GOAL_SECONDS else 1


@contextmanager
def _under_load(ground: Ground, at: Field, folder: Path, more: Mapping[str, str]) -> Iterator[tuple[dict[str, str], Sockets]]:
    environ = environment(ground, at.bucket, more)
    _rekey(environ, "init")
    with (folder / f"{at.bucket}.log").open("wb") as log, workers(environ, log) as supervisor:
        _rekey(environ, "enqueue")
        while _one(ground, "SELECT count(*) FROM rekey_moves WHERE state = 'deleted'") < at.assets * BUSY_SHARE:
            time.sleep(0.1)
        yield environ, Sockets(ground, by_stage(supervisor))


def _pause(ground: Ground, environ: Mapping[str, str], sockets: Sockets) -> float:
    began = _typed(ground, environ, sockets, "paused", "pause")
    _rest(sockets)
    changed = _one(ground, "SELECT max(updated_at) FROM rekey_moves") / 1e6
    left = _one(ground, "SELECT count(*) FROM rekey_moves WHERE state IN ('planned', 'copied')")
    waits = {"ledger": changed - began} | {stage: at - began for stage, at in sockets.last.items() if stage != "seed"}
    _tell("pause", waits, f"{left} assets had not been switched")
    if not left:
        return float("inf")
    sockets.last.clear()
    resumed = _typed(ground, environ, sockets, "running", "resume")
    while _one(ground, "SELECT max(updated_at) FROM rekey_moves") / 1e6 <= resumed:
        time.sleep(0.01)
    going = time.time() - resumed
    _tell("resume", {"first change": going}, "the reconciler sends out what is due")
    return max(*waits.values(), going)


def _cancel(ground: Ground, environ: Mapping[str, str], sockets: Sockets) -> float:
    began = _typed(ground, environ, sockets, "cancelled", "cancel", "--yes")
    while not _one(ground, "SELECT count(*) FROM rekey_runs WHERE live_hash IS NULL"):
        time.sleep(0.1)
    switched = _one(ground, "SELECT max(switched_at) FROM rekey_moves") / 1e6
    copied = _one(ground, "SELECT max(copy_store_time) FROM rekey_moves")  # whole seconds of the store
    ended = _one(ground, "SELECT finished_at FROM rekey_runs") / 1e6
    left = _one(ground, "SELECT count(*) FROM rekey_moves WHERE state = 'cancelled'")
    waits = {"last copy": copied - began, "last switch": switched - began}
    _tell("cancel", waits, f"{left} assets cancelled; copies removed and the run ended after {ended - began:.1f} s")
    return max(waits.values()) if left else float("inf")


def _set(ground: Ground, environ: Mapping[str, str], sockets: Sockets) -> float:
    began = _typed(ground, environ, sockets, None, "set", f"copy_rate={RATE}")
    _rest(sockets)
    with psycopg.connect(ground.dsn) as connection:
        copies = "SELECT copy_store_time, count(*) FROM rekey_moves WHERE copy_recorded GROUP BY 1 ORDER BY 1"
        fast = [second for second, count in connection.execute(copies) if count > 2 * RATE]
    waits = {"last second above the rate": fast[-1] + 1 - began}
    _tell("set", waits, f"copy_rate={RATE}")
    return max(waits.values())


def _typed(ground: Ground, environ: Mapping[str, str], sockets: Sockets, state: str | None, *command: str) -> float:
    """Type a command while the workers are watched; gives when the ledger was changed by it."""
    seen: list[float] = []
    over = threading.Event()
    question = "SELECT state FROM rekey_runs" if state else "SELECT knobs FROM rekey_runs"

    def watch() -> None:
        with psycopg.connect(ground.dsn, autocommit=True) as connection:
            while not over.wait(0.01):
                found = connection.execute(question).fetchone()
                if not seen and found is not None and (found[0] == state if state else found[0] != "{}"):
                    seen.append(time.time())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _rekey(environ, *command)
        sockets.look()
    finally:
        over.set()
        watcher.join()
    return seen[0]


def _rest(sockets: Sockets) -> None:
    end = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < end:
        sockets.look()
        time.sleep(0.5)


def _tell(command: str, waits: Mapping[str, float], more: str) -> None:
    said = ", ".join(f"{name} {max(wait, 0.0):.2f} s" for name, wait in waits.items())
    print(f"{command:7} {said}; {more}", flush=True)  # noqa: T201 - the program's output


def _one(ground: Ground, question: str) -> int:
    with psycopg.connect(ground.dsn) as connection:
        found = connection.execute(question).fetchone()
    return int(found[0]) if found and found[0] is not None else 0


def _rekey(environ: Mapping[str, str], *command: str) -> None:
    subprocess.run([sys.executable, "-m", "app", *command], env=dict(environ), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
