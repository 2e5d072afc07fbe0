"""The product and the article's Go program in turn on the same servers: rates and CPU an asset, and their ratios.

``python -m tests.benchmarks.compare --rounds 3 --assets 10000``; docs/benchmarks.md says what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from tests.benchmarks.contenders import Turn, build_seedgo, run_product, run_seedgo
from tests.benchmarks.ground import Field, servers

FLOOR = 0.75  # of the peer's rate
MOST_MIB = 150.0  # of any worker process
# What docs/operating.md advises where store, database and workers share two cores; ``--defaults`` leaves them out.
FEWER_TASKS = {"REKEY_COPY_CONCURRENCY": "16", "REKEY_RENAME_CONCURRENCY": "4", "REKEY_DELETE_CONCURRENCY": "4"}
PARTS = ("client", "server", "database", "broker")


def main(args: Sequence[str]) -> int:
    """Run the rounds, print the table, and exit 1 below the floor."""
    options = _options(args)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "asset-rekey" / "bin"
    binary = build_seedgo(cache)
    more = ({} if options.defaults else FEWER_TASKS) | dict(pair.split("=", 1) for pair in options.set)
    pairs: list[tuple[Turn, Turn]] = []
    with tempfile.TemporaryDirectory(prefix="rekey-bench-") as text:
        folder = Path(text)
        folder.chmod(0o755)
        with servers(folder) as ground:
            for number in range(options.rounds):
                turns = []
                for contender in ("seedgo", "product"):
                    at = Field(ground=ground, bucket=f"{contender}-{number}", assets=options.assets, size=options.size)
                    at.prepare()
                    turns.append(
                        run_seedgo(binary, ground, at) if contender == "seedgo" else run_product(ground, at, folder=folder, more=more)
                    )
                    at.recount()
                    at.clear()
                    print(_line(number, turns[-1]), flush=True)  # noqa: T201 - the program's output
                pairs.append((turns[0], turns[1]))
    found = summary(pairs)
    print(json.dumps(found, indent=2) if options.json else as_text(found))  # noqa: T201 - the program's output
    return 0 if found["rate_ratio"]["median"] >= FLOOR and found["peak_mib"] < MOST_MIB else 1


def _options(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.compare", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="times that each contender runs (3)")
    parser.add_argument("--assets", type=int, default=10_000, help="objects in the bucket (10000)")
    parser.add_argument("--size", type=int, default=4096, help="bytes of each object (4096)")
    parser.add_argument("--set", action="append", default=[], metavar="REKEY_X=Y", help="a setting of the product")
    parser.add_argument("--defaults", action="store_true", help="leave the product's concurrencies at their defaults (100, 10, 100)")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    return parser.parse_args(args)


def summary(pairs: Sequence[tuple[Turn, Turn]]) -> dict[str, dict[str, float] | float]:
    """Medians with their range over the rounds; a ratio is taken within its round, between neighbours in time."""
    return {
        "rate_ratio": _spread(pairs, lambda peer, own: own.rate / peer.rate),
        "cpu_ratio": _spread(pairs, lambda peer, own: own.cpu_ms / peer.cpu_ms),
        "product_per_second": _spread(pairs, lambda _, own: own.rate),
        "seedgo_per_second": _spread(pairs, lambda peer, _: peer.rate),
        "product_cpu_ms": _spread(pairs, lambda _, own: own.cpu_ms),
        "seedgo_cpu_ms": _spread(pairs, lambda peer, _: peer.cpu_ms),
        "product_run_seconds": _spread(pairs, lambda _, own: own.run_seconds or 0.0),
        "peak_mib": max(peak for _, own in pairs for peak in own.peaks.values()),
    }


def _spread(pairs: Sequence[tuple[Turn, Turn]], value: Callable[[Turn, Turn], float]) -> dict[str, float]:
    values = [value(*pair) for pair in pairs]
    return {"median": round(median(values), 3), "least": round(min(values), 3), "most": round(max(values), 3)}


def _line(number: int, turn: Turn) -> str:
    parts = " ".join(f"{part} {1000 * turn.cpu[part] / turn.assets:.2f}" for part in PARTS)
    line = f"round {number + 1} {turn.name:8}{turn.rate:7.0f}/s  {turn.seconds:6.1f} s  {turn.cpu_ms:5.2f} ms CPU an asset ({parts})"
    if turn.run_seconds is not None:
        workers = ", ".join(
            f"{name} {1000 * turn.client_parts[name] / turn.assets:.2f} ms {turn.peaks[name]:.0f} MiB" for name in turn.peaks
        )
        line += f"\n        run record {turn.run_seconds:.1f} s; workers: {workers}"
    requests = ", ".join(f"{name} {count / turn.assets:.2f}" for name, count in turn.requests.items())
    return f"{line}\n        requests an asset: {requests}"


def as_text(found: dict[str, dict[str, float] | float]) -> str:
    """One line a figure."""
    lines = []
    for name, value in found.items():
        shown = f"{value['median']} ({value['least']} - {value['most']})" if isinstance(value, dict) else f"{value:.0f}"
        lines.append(f"{name:22}{shown}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
