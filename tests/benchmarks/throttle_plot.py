"""A run against a store that bears 50 requests a second, drawn over time: ``python -m tests.benchmarks.throttle_plot``.

PostgreSQL, Redis and MinIO of its own, a door before MinIO that answers 503 above the limit, a reader of the service at 20 a second through
the same door. Drawn: requests that passed and were refused, each stage's rate with its cause, how long each read took. ``--terminal FILE``
keeps what ``rekey status --watch`` shows half-way, byte for byte, in a terminal of 80 columns.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests import servers as real
from tests.acceptance.deployment import Deployment, Running
from tests.benchmarks.throttle_chart import WIDTH, Chart, Line, draw, height_of
from tests.cases.limited_door import LimitedDoor, Read, Reader
from tests.chaos.evidence import Evidence
from tests.integration.browser import browse

LIMIT, READS = 50.0, 20.0
SAMPLE_SECONDS = 0.5
ALONE_SECONDS = 5.0  # of the service, before the run
MOST_SECONDS = 600.0
# Ticks and looks as far apart as they are by default, so that the run's own questions leave something of fifty requests a second.
CALM = {
    "REKEY_COPY_CONCURRENCY": "16",
    "REKEY_GRACE_SECONDS": "10",
    "REKEY_RECONCILE_SECONDS": "5",
    "REKEY_LOOK_SECONDS": "5",
    "REKEY_CANARY_READS": "5",
}
COLUMNS, LINES = 80, 24
WATCHED = 0.4  # of the rows are moved when the terminal is kept


@dataclass
class Seen:
    """What was seen over time; seconds since the run was enqueued."""

    passed: list[tuple[float, float]] = field(default_factory=list)
    refused: list[tuple[float, float]] = field(default_factory=list)
    rates: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    causes: dict[str, str] = field(default_factory=dict)


def main(args: Sequence[str]) -> int:
    """Run, draw, say the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.throttle_plot", description=__doc__)
    parser.add_argument("--assets", type=int, default=300)
    parser.add_argument("--output", type=Path, default=Path("docs/throttle.png"), help="a picture, .png or .svg")
    parser.add_argument("--terminal", type=Path)
    options = parser.parse_args(args)
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="rekey-throttle-")))
        postgres, broker = exits.enter_context(real.postgres_server()), exits.enter_context(real.redis_server())
        store = exits.enter_context(real.minio_server())
        door = LimitedDoor(store.endpoint, limit=LIMIT)
        exits.callback(door.close)
        settings = {"REKEY_S3_ENDPOINT": door.endpoint, **CALM}
        deployment = Deployment(database_url=postgres.make_database(), broker_url=broker.url, store=store, folder=folder, settings=settings)
        assert deployment.rekey("init").status == 0
        service, named = deployment.service()
        deployment.environ.update(named)
        service.fill(options.assets)
        evidence = Evidence(deployment, total=options.assets)
        exits.enter_context(deployment.workers())
        reader = Reader(service, deployment, door, rate=READS, ids=options.assets)
        began = time.monotonic()
        reader.start()
        started: list[Running] = []
        enqueue = threading.Timer(ALONE_SECONDS, lambda: started.append(deployment.start("app", "enqueue", name="enqueue")))
        enqueue.start()
        if options.terminal:
            threading.Thread(target=_keep_terminal, args=(deployment, evidence, options.terminal), daemon=True).start()
        seen = _watch(evidence, door, began)
        assert started[0].finish(seconds=1).status == 0
        time.sleep(3)
        reader.stop()
        attempts = evidence.ask("SELECT max(attempts), count(*) FROM rekey_moves WHERE state = 'deleted'")
        assert attempts == [(0, options.assets)], attempts
        assert reader.failed == [], reader.failed
        stages = evidence.ask(_STAGES)
        evidence.close()
    reads = [Read(read.at - began, read.seconds) for read in reader.reads]
    _save(_chart(seen, reads), options.output)
    _tell(seen, reads, door)
    _tell_requests(stages, door, assets=options.assets)
    return 0


_STAGES = "SELECT stage, sum(outcomes), sum(requests), sum(slow_downs) FROM rekey_tallies WHERE requests > 0 GROUP BY stage ORDER BY stage"


def _save(chart: str, output: Path) -> None:
    """As SVG, or as a browser paints it."""
    if output.suffix == ".svg":
        output.write_text(chart, encoding="utf-8")
        return
    with tempfile.TemporaryDirectory(prefix="rekey-throttle-") as folder:
        page = Path(folder) / "chart.html"
        page.write_text(f"<!doctype html><meta charset=utf-8><style>body {{ margin: 0 }}</style>{chart}", encoding="utf-8")
        browse(Path(folder), f"--window-size={WIDTH},{height_of(3)}", f"--screenshot={output.absolute()}", page.as_uri())


def _watch(evidence: Evidence, door: LimitedDoor, began: float) -> Seen:
    """Until the run has ended."""
    seen, passed, refused, at = Seen(), door.passed, door.refused, time.monotonic()
    while at < began + MOST_SECONDS:
        time.sleep(SAMPLE_SECONDS)
        now = time.monotonic()
        seen.passed.append((now - began, (door.passed - passed) / (now - at)))
        seen.refused.append((now - began, (door.refused - refused) / (now - at)))
        passed, refused, at = door.passed, door.refused, now
        for rates, causes in evidence.ask("SELECT rates, causes FROM rekey_throttles"):
            for stage, rate in json.loads(rates).items():
                seen.rates.setdefault(stage, []).append((now - began, rate))
            seen.causes |= json.loads(causes)
        if evidence.ask("SELECT 1 FROM rekey_runs WHERE finished_at IS NOT NULL"):
            return seen
    raise AssertionError(f"not within {MOST_SECONDS:.0f} s: {evidence.progress()}")


def _chart(seen: Seen, reads: Sequence[Read]) -> str:
    charts = [
        Chart(
            title=f"requests a second, of a store that bears {LIMIT:.0f}",
            lines=[Line("passed", "#1a7f5a", seen.passed), Line("refused with 503", "#c0392b", seen.refused)],
        ),
        Chart(
            title=f"rates that were decided, assets taken up a second; cause: {_short(seen.causes)}",
            lines=[Line(stage, colour, seen.rates.get(stage, [])) for stage, colour in _COLOURS.items() if stage in seen.rates],
            steps=True,
        ),
        Chart(
            title=f"the service's reads, {READS:.0f} a second through the same door: seconds until the object was there",
            lines=[Line("a read", "#34495e", [(read.at, read.seconds) for read in sorted(reads, key=lambda read: read.at)])],
            dots=True,
        ),
    ]
    return draw(charts, until=max(at for at, _ in seen.passed) + 3)


_COLOURS = {"copy": "#2471a3", "rename": "#b9770e", "delete": "#7d3c98"}


def _short(causes: Mapping[str, str]) -> str:
    return "; ".join(sorted({cause.partition(" in ")[0] for stage, cause in causes.items() if stage in _COLOURS})) or "none"


def _tell(seen: Seen, reads: Sequence[Read], door: LimitedDoor) -> None:
    end = max(at for at, _ in seen.passed)
    decided = min((points[0][0] for points in seen.rates.values()), default=end)
    slices: dict[str, Callable[[Read], bool]] = {
        "before the run": lambda read: read.at < ALONE_SECONDS,
        "until the first rate was decided": lambda read: ALONE_SECONDS <= read.at < decided,
        "after that": lambda read: decided <= read.at < end,
    }
    print(f"{end:.0f} s, {door.passed} requests passed, {door.refused} refused")  # noqa: T201 - the figures
    after = [rate for at, rate in seen.passed if at >= decided]
    if after:
        print(f"passed after the first rate was decided: {sum(after) / len(after):.0f} a second of {LIMIT:.0f}")  # noqa: T201 - the figures
    for name, within in slices.items():
        took = sorted(read.seconds for read in reads if within(read))
        if took:
            figures = f"{len(took)}, median {took[len(took) // 2]:.3f} s, 99 % {took[len(took) * 99 // 100]:.3f} s, max {took[-1]:.3f} s"
            print(f"reads {name}: {figures}")  # noqa: T201 - the figures


def _tell_requests(stages: Sequence[tuple[str, int, int, int]], door: LimitedDoor, *, assets: int) -> None:
    for stage, outcomes, requests, refused in stages:
        print(f"{stage}: {outcomes} moves, {requests} requests, {requests / assets:.1f} an asset, {refused} refused")  # noqa: T201
    for who, kind, became in sorted(door.asked):
        print(f"{who}: {kind}, {became}: {door.asked[who, kind, became]}")  # noqa: T201 - the figures


def _keep_terminal(deployment: Deployment, evidence: Evidence, output: Path) -> None:
    """What the screen gets from its beginning until so much is moved."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environ = deployment.environ | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
    command = [sys.executable, "-m", "app", "status", "--watch"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=deployment.folder)
    os.close(theirs)
    kept, end = b"", time.monotonic() + 240
    try:
        while time.monotonic() < end and evidence.progress().copied < WATCHED:
            if select.select([ours], [], [], 0.2)[0]:
                kept += os.read(ours, 65536)
        output.write_bytes(kept)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
