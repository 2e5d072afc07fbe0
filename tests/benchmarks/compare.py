"""The product, the article's Go program and s5cmd in turn on the same servers: rates, CPU an asset, and their ratios.

``python -m tests.benchmarks.compare --rounds 5 --assets 20000``; docs/benchmarks.md says what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from tests.benchmarks.contenders import PARTS, STAGES, Pools, Turn, build_seedgo, find_s5cmd, run_product, run_s5cmd, run_seedgo
from tests.benchmarks.ground import Field, Ground, servers

FLOOR = 0.75  # of the Go program's rate
MOST_MIB = 150.0  # of any worker process
PEERS = ("seedgo", "s5cmd")
# What docs/operating.md advises where store, database and workers share two cores; ``--defaults`` leaves them out.
FEWER_TASKS = {"REKEY_COPY_CONCURRENCY": "16", "REKEY_RENAME_CONCURRENCY": "4", "REKEY_DELETE_CONCURRENCY": "4"}

Round = Mapping[str, Turn]  # by contender


def main(args: Sequence[str]) -> int:
    """Run the rounds, print the tables, and exit 1 below the floor."""
    options = _options(args)
    every = options.delay_ms > 0 or options.defaults
    more = ({} if every else FEWER_TASKS) | dict(pair.split("=", 1) for pair in options.set)
    rounds: list[dict[str, Turn]] = _read(options.keep)
    with tempfile.TemporaryDirectory(prefix="rekey-bench-", dir=options.folder) as text:
        folder = Path(text)
        folder.chmod(0o755)
        with servers(folder, delay_ms=options.delay_ms) as ground:
            contenders = make_contenders(options.contenders, folder=folder, more=more, pools=Pools())
            for _ in range(options.rounds):
                rounds.append(play(len(rounds), contenders, ground, assets=options.assets, size=options.size))
                _keep(options.keep, rounds)
    print("\n".join(as_text(rounds)))  # noqa: T201 - the program's output
    return 0 if _is_enough(rounds) else 1


def _options(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.compare", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="times that each contender runs (3)")
    parser.add_argument("--assets", type=int, default=10_000, help="objects in the bucket (10000)")
    parser.add_argument("--size", type=int, default=4096, help="bytes of each object (4096)")
    parser.add_argument("--copy", default="auto,server", help="the product's REKEY_COPY: a contender for each, as in auto,server")
    parser.add_argument("--peers", default=",".join(PEERS), help="programs to compare it with (seedgo,s5cmd)")
    parser.add_argument("--delay-ms", type=float, default=0, help="milliseconds that each round trip to the store takes longer (0)")
    parser.add_argument("--folder", help="where the servers keep their data: a file system of the kind that is asked about")
    parser.add_argument("--set", action="append", default=[], metavar="REKEY_X=Y", help="a setting of the product")
    parser.add_argument(
        "--defaults", action="store_true", help="leave the product's concurrencies at their defaults (100, 10, 100), as a delay does"
    )
    parser.add_argument("--keep", type=Path, metavar="FILE", help="keep the rounds there, and go on with those that are in it")
    options = parser.parse_args(args)
    options.contenders = [*filter(None, options.peers.split(",")), *(f"product {mode}" for mode in options.copy.split(","))]
    return options


Contender = Callable[[Ground, Field], Turn]


def make_contenders(names: Sequence[str], *, folder: Path, more: Mapping[str, str], pools: Pools) -> dict[str, Contender]:
    """How each of *names* takes its turn; those that cannot be had are left out, and said."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "asset-rekey" / "bin"
    found: dict[str, Contender] = {}
    for name in names:
        if name == "seedgo":
            binary = build_seedgo(cache)
            found[name] = lambda ground, at, binary=binary: run_seedgo(binary, ground, at, pools)
        elif name == "s5cmd":
            s5cmd = find_s5cmd()
            if s5cmd is None:
                print("s5cmd is not installed, and left out: make s5cmd")  # noqa: T201 - the program's output
                continue
            found[name] = lambda ground, at, binary=s5cmd: run_s5cmd(binary, ground, at)
        else:
            settings = {**more, "REKEY_COPY": name.split()[1]}
            found[name] = lambda ground, at, name=name, more=settings: run_product(name, ground, at, folder=folder, more=more)
    return found


def play(
    number: int, contenders: Mapping[str, Contender], ground: Ground, *, assets: int, size: int, part_size: int = 0
) -> dict[str, Turn]:
    """One round: each contender's turn on a bucket and rows of its own, one after the other."""
    turns = {}
    for name, run in contenders.items():
        at = Field(ground=ground, bucket=f"{name.replace(' ', '-')}-{number}", assets=assets, size=size, part_size=part_size)
        at.prepare()
        load = os.getloadavg()[0]
        turns[name] = run(ground, at)
        at.recount(rows=name != "s5cmd")
        at.clear()
        print(_line(number, turns[name], load), flush=True)  # noqa: T201 - the program's output
    return turns


def _line(number: int, turn: Turn, load: float) -> str:
    parts = ", ".join(f"{part} {1000 * turn.cpu[part] / turn.assets:.2f}" for part in PARTS)
    line = f"round {number + 1}  {turn.name:15}{turn.rate:6.0f}/s  {turn.cpu_ms:5.2f} ms CPU ({parts}); load before {load:.1f}"
    requests = ", ".join(f"{name} {count / turn.assets:.2f}" for name, count in turn.requests.items())
    return f"{line}\n{'':25}requests an asset: {requests}"


def as_text(rounds: Sequence[Round]) -> list[str]:
    """Medians with their range: rates and CPU of each contender, the product's ratios within a round, and its CPU by worker."""
    names = list(dict.fromkeys(name for each in rounds for name in each))
    lines = ["", f"{'medians (range)':17}{'assets/s':20}{'CPU ms an asset':22}" + "".join(f"{part:10}" for part in PARTS)]
    for name in names:
        turns = [each[name] for each in rounds if name in each]
        parts = "".join(f"{median(1000 * turn.cpu[part] / turn.assets for turn in turns):<10.2f}" for part in PARTS)
        lines.append(f"{name:17}{spread([turn.rate for turn in turns], 0):20}{spread([turn.cpu_ms for turn in turns], 2):22}{parts}")
    for own in [name for name in names if name not in PEERS]:
        for peer in [name for name in names if name in PEERS]:
            both = [each for each in rounds if own in each and peer in each]
            rate, cost = ratios(both, own, peer)
            lines.append(f"{own} to {peer}: rate {spread(rate, 2)}, CPU {spread(cost, 2)}")
    for own in [name for name in names if name not in PEERS]:
        turns = [each[own] for each in rounds if own in each]
        parts = ", ".join(f"{stage} {median(_of_stage(turn, stage) for turn in turns):.2f}" for stage in STAGES)
        rest = median(1000 * turn.cpu["client"] / turn.assets - sum(_of_stage(turn, stage) for stage in STAGES) for turn in turns)
        peak = max(peak for turn in turns for peak in turn.peaks.values())
        lines.append(f"{own}: CPU ms an asset by worker: {parts}, the rest {rest:.2f}; largest worker {peak:.0f} MiB")
    delays = [turn.delay_ms for each in rounds for turn in each.values() if turn.delay_ms]
    return [*lines, f"the delay took {median(delays):.2f} ms of CPU an asset beside them"] if delays else lines


def _of_stage(turn: Turn, stage: str) -> float:
    return 1000 * turn.client_parts[stage] / turn.assets


def ratios(rounds: Sequence[Round], own: str, peer: str) -> tuple[list[float], list[float]]:
    """Rate and CPU of *own* to those of *peer*, within each round: between neighbours in time."""
    rate = [each[own].rate / each[peer].rate for each in rounds]
    return rate, [each[own].cpu_ms / each[peer].cpu_ms for each in rounds]


def spread(values: Sequence[float], digits: int) -> str:
    """Median and range."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})" if values else "-"


def _is_enough(rounds: Sequence[Round]) -> bool:
    own = [name for name in rounds[0] if name not in PEERS]
    quick = all(median(ratios(rounds, name, "seedgo")[0]) >= FLOOR for name in own if "seedgo" in rounds[0])
    return quick and max((peak for each in rounds for name in own for peak in each[name].peaks.values()), default=0.0) < MOST_MIB


def _read(file: Path | None) -> list[dict[str, Turn]]:
    if file is None or not file.exists():
        return []
    return [{name: Turn(**turn) for name, turn in json.loads(line).items()} for line in file.read_text().splitlines()]


def _keep(file: Path | None, rounds: Sequence[Round]) -> None:
    if file is not None:
        file.write_text("".join(json.dumps({name: asdict(turn) for name, turn in each.items()}) + "\n" for each in rounds))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
