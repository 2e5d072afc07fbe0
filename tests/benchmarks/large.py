"""Large objects: ``python -m tests.benchmarks.large --objects 200 --mib 64`` on MinIO.

The bytes ought to stay at the store: what the workers spend on an asset, what their memory grows by, and how near the rate comes to that of
the store's own copies, which ``s5cmd`` and the Go program ask for.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.compare import FEWER_TASKS, PEERS, as_text, make_contenders, play
from tests.benchmarks.contenders import Pools, Turn
from tests.benchmarks.ground import servers

MIB = 1024**2
MOST_CPU_MS = 2.0  # of the workers, an asset
# Large copies are bound by the disk: more at once only last longer each.
POOLS = Pools(copy=8, rename=4, delete=8)


def main(args: Sequence[str]) -> int:
    """Each contender's turn; exit 1 where the product's workers took more than MOST_CPU_MS an asset."""
    options = _options(args)
    with tempfile.TemporaryDirectory(prefix="rekey-bench-", dir=options.folder) as text:
        folder = Path(text)
        folder.chmod(0o755)
        objects = _that_fit(options.objects, options.mib, shutil.disk_usage(folder).free)
        with servers(folder) as ground:
            own = [f"product {copy}" for copy in options.copy.split(",")]
            names = [*filter(None, options.peers.split(",")), *own]
            more = FEWER_TASKS | POOLS.settings() | dict(pair.split("=", 1) for pair in options.set)
            contenders = make_contenders(names, folder=folder, more=more, pools=POOLS)
            turns = play(0, contenders, ground, assets=objects, size=options.mib * MIB, part_size=options.part_mib * MIB)
    print("\n".join([*as_text([turns]), *(_line(turn, options.mib) for turn in turns.values())]))  # noqa: T201 - the program's output
    return 0 if all(1000 * sum(turns[name].client_parts.values()) / turns[name].assets <= MOST_CPU_MS for name in own) else 1


def _options(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.large", description=__doc__)
    parser.add_argument("--objects", type=int, default=200, help="objects in the bucket (200)")
    parser.add_argument("--mib", type=int, default=64, help="MiB of each object (64)")
    parser.add_argument("--part-mib", type=int, default=0, help="MiB of the parts that they were uploaded in; 0: by one PUT (0)")
    parser.add_argument("--copy", default="auto", help="the product's REKEY_COPY: a contender for each, as in auto,server (auto)")
    parser.add_argument("--peers", default=",".join(PEERS), help="programs to compare it with (seedgo,s5cmd)")
    parser.add_argument("--folder", help="where MinIO keeps its data")
    parser.add_argument("--set", action="append", default=[], metavar="REKEY_X=Y", help="a setting of the product")
    return parser.parse_args(args)


def _that_fit(objects: int, mib: int, free: int) -> int:
    """As many as may lie there twice and leave half of the disk to others."""
    most = free // 4 // (mib * MIB)
    if most < objects:
        print(f"the disk has room for {most} objects of {mib} MiB, not {objects}")  # noqa: T201 - the program's output
    return min(objects, most)


def _line(turn: Turn, mib: int) -> str:
    seconds = turn.seconds
    own = f"; workers {1000 * sum(turn.client_parts.values()) / turn.assets:.2f} ms CPU an asset" if turn.client_parts else ""
    return f"{turn.name}: {turn.assets} objects in {seconds:.1f} s, {turn.assets * mib / seconds:.0f} MiB/s of {os.cpu_count()} cores{own}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
