"""How many requests at once are of use to whom: ``python -m tests.benchmarks.sweep --delay-ms 100 --sweep 25,50,100,200,400``.

For each number in turn, the Go program and the product with pools of that size (a tenth of it for rows) move the same assets on the same
servers, each round trip to the store so much longer.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.compare import make_contenders, play
from tests.benchmarks.contenders import Pools, Turn
from tests.benchmarks.ground import servers

ROWS_SHARE = 10  # copies at once for each row that is switched at once, as in the Go program


def main(args: Sequence[str]) -> int:
    """Sweep and print a line a number."""
    options = _options(args)
    names = ("seedgo", *(f"product {mode}" for mode in options.copy.split(",")))
    found: dict[int, dict[str, Turn]] = {}
    with tempfile.TemporaryDirectory(prefix="rekey-bench-") as text:
        folder = Path(text)
        folder.chmod(0o755)
        with servers(folder, delay_ms=options.delay_ms) as ground:
            for number in map(int, options.sweep.split(",")):
                pools = pools_of(number)
                contenders = make_contenders(names, folder=folder, more=pools.settings(), pools=pools)
                found[number] = play(number, contenders, ground, assets=options.assets, size=options.size)
    print("\n".join(as_text(found)))  # noqa: T201 - the program's output
    return 0


def _options(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.sweep", description=__doc__)
    parser.add_argument("--assets", type=int, default=5_000, help="objects in the bucket (5000)")
    parser.add_argument("--size", type=int, default=4096, help="bytes of each object (4096)")
    parser.add_argument("--copy", default="auto", help="the product's REKEY_COPY: a contender for each, as in auto,server")
    parser.add_argument("--delay-ms", type=float, default=100, help="milliseconds that each round trip to the store takes longer (100)")
    parser.add_argument("--sweep", default="25,50,100,200,400", help="tasks, or requests, at once")
    return parser.parse_args(args)


def pools_of(number: int) -> Pools:
    """*number* for each stage that is on the store."""
    return Pools(copy=number, rename=max(1, number // ROWS_SHARE), delete=number)


def as_text(found: dict[int, dict[str, Turn]]) -> list[str]:
    """A line a number: rates, and how much of the processors each contender left."""
    names = list(next(iter(found.values())))
    lines = ["", f"{'at once':10}" + "".join(f"{name:30}" for name in names)]
    for number, turns in found.items():
        cells = [f"{turn.rate:.0f}/s, {busy(turn):.0%} of the processors" for turn in turns.values()]
        lines.append(f"{number:<10}" + "".join(f"{cell:30}" for cell in cells))
    return lines


def busy(turn: Turn) -> float:
    """What of all processors the contender, its servers and the delay took while it ran."""
    return sum(turn.cpu.values()) / (turn.run_seconds or turn.seconds) / (os.cpu_count() or 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
