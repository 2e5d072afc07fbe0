"""The service's stock: which files become its assets, and how they got into its table and bucket over the years."""

from __future__ import annotations

import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.demo import files, problems
from app.demo.service import Asset, asking, old_key, upload
from app.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from app.demo.service import Bucket, Table

CONNECTIONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asked for."""

    assets: int
    folder: Path | None = None
    with_problems: bool = False
    keep: bool = False  # the folder with the database and the logs; the servers end all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """All assets of the service, and objects in its bucket that are not its own."""

    assets: list[Asset]
    foreign: list[Asset]
    told: list[str]  # what there is to say about it


def choose(wish: Wish) -> files.Dealt:
    """The files that will be the assets.

    Raises:
        UsageError: There are none.
    """
    if wish.folder is not None and not wish.folder.is_dir():
        raise UsageError(f"--from: {wish.folder} is no folder")
    dealt = files.deal(files.find([wish.folder]) if wish.folder else files.find_own(), wanted=wish.assets)
    if not dealt.assets:
        raise UsageError(f"--from: no readable file in {wish.folder}")
    return dealt


def fill(dealt: files.Dealt, table: Table, bucket: Bucket, *, with_problems: bool, check: Callable[[], None]) -> Stock:
    """Upload all files and add their rows; *check* is called all the while.

    Raises:
        DemonstrationError: Table or bucket did not take them.
    """
    begun = time.monotonic()
    assets = [
        Asset(id=number, client=client, name=file.name, first_key=old_key(number, file.name))
        for number, (client, file) in enumerate(dealt.assets, start=1)
    ]
    foreign: list[Asset] = []
    told: list[str] = []
    with asking("the assets could not be uploaded"):
        table.create()
        with pool() as threads:
            for _ in threads.map(_upload_file, itertools.repeat(bucket), assets, [file for _, file in dealt.assets]):
                check()
        assets = [asset for asset in assets if asset.settled]
        # A name that is no UTF-8 goes into the table as the bytes that it is.
        table.insert([(each.id, each.client, os.fsencode(each.name), each.newest.content_type, each.first_key) for each in assets])
        if with_problems:
            planted = problems.plant(table, bucket, assets, next_id=len(dealt.assets) + 1)
            assets += planted.assets
            foreign += planted.foreign
            reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(planted.reasons.items()))
            told.append(f"planted {len(planted.assets)} problems: {reasons}")
    told.append(f"uploaded {len(assets)} assets in {time.monotonic() - begun:.1f} s")
    return Stock(assets=assets, foreign=foreign, told=told)


@contextmanager
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads that leave undone what they have not begun when the block is left."""
    threads = ThreadPoolExecutor(CONNECTIONS)
    try:
        yield threads
    finally:
        threads.shutdown(cancel_futures=True)


def _upload_file(bucket: Bucket, asset: Asset, file: files.RealFile) -> None:
    try:
        body = file.path.read_bytes()
    except OSError:
        return  # it went since it was found: no asset
    upload(bucket, asset, body, file.content_type, key=asset.first_key)
    asset.settled = True
