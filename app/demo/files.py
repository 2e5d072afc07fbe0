"""Real files to be assets: found in folders, the ones that people would upload first, and dealt out to clients."""

from __future__ import annotations

import mimetypes
import os
import sysconfig
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

CLIENTS = 50
MAX_LOOKED_AT = 200_000  # files: somebody's home folder must not keep the demo from starting
MAX_FILE_BYTES = 32 * 1024**2  # held in memory by the writer, the reader and a copy at once
MAX_BYTES = 1024**3  # of all assets; they are held twice on the disk until the old objects are deleted
_CACHES = frozenset({"__pycache__", ".git"})
_OTHERS_PACKAGES = frozenset({"site-packages", "dist-packages"})  # below the standard library: those of another environment
# What S3 itself says of an upload without a type. SeaweedFS takes application/octet-stream for "none" and makes one up from the key.
_UNKNOWN = "binary/octet-stream"
# Pictures, styles and texts first: what clients upload, and in an environment the rarer kinds.
_RANKS = (("image/", "font/", "audio/", "video/"), ("text/css", "text/html"), ("text/plain", "text/markdown", "text/csv", "text/rtf"))
_CODE = (".py", ".pyi", ".pyx", ".pxd", ".c", ".h", ".cpp", ".hpp", ".js", ".sh", ".sql")
_CODE_RANK = len(_RANKS) + 1  # after all kinds that mimetypes knows; what it does not know comes last


@dataclass(frozen=True, slots=True, kw_only=True)
class RealFile:
    """A file of this machine, with what an upload of it would say."""

    path: Path
    name: str
    size: int
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dealt:
    """The files that become assets, each with its client, and what there is to say about the choice."""

    assets: list[tuple[int, RealFile]]
    notes: list[str]

    @property
    def total_bytes(self) -> int:
        """The size of all assets together."""
        return sum(file.size for _, file in self.assets)


def find_own() -> list[Path]:
    """The files of this environment's own packages and of the standard library, in the order of ``find``."""
    folders = dict.fromkeys(Path(sysconfig.get_paths()[name]).resolve() for name in ("purelib", "platlib", "stdlib"))
    return find(folders, skipped=_CACHES | _OTHERS_PACKAGES)


def find(folders: Iterable[Path], *, skipped: Collection[str] = _CACHES) -> list[Path]:
    """The files below *folders*, pictures, styles and texts before code, otherwise folder by folder."""
    return sorted(islice(_walk(folders, skipped), MAX_LOOKED_AT), key=lambda path: _rank(path.name))


def deal(found: Iterable[Path], *, wanted: int, clients: int = CLIENTS) -> Dealt:
    """Give each file to a client, in turn, so that no client gets a name twice; at most *wanted* files, and MAX_BYTES in all."""
    names: list[set[str]] = [set() for _ in range(clients)]
    dealt: list[tuple[int, RealFile]] = []
    turn = total = 0
    left: Counter[str] = Counter()
    for file in filter(None, map(_as_file, found)):
        # Without regard to case: whoever keeps a client's assets in a folder of their own should find them all there.
        name = file.name.casefold()
        client = next((at % clients for at in range(turn, turn + clients) if name not in names[at % clients]), None)
        if len(dealt) == wanted:
            break
        if file.size > MAX_FILE_BYTES:
            left[f"of more than {MAX_FILE_BYTES >> 20} MiB"] += 1
        elif file.size > MAX_BYTES - total:
            left[f"beyond {MAX_BYTES >> 20} MiB in all"] += 1
        elif client is None:
            left[f"of a name that each of the {clients} clients has already"] += 1
        else:
            names[client].add(name)
            dealt.append((client + 1, file))
            total += file.size
            turn = client + 1
    if len(dealt) == wanted:
        return Dealt(assets=dealt, notes=[])
    notes = [f"{len(dealt)} of the {wanted} assets asked for: there are no more files"]
    return Dealt(assets=dealt, notes=notes + [f"left out {count} {why}" for why, count in left.items()])


def content_type(name: str) -> str:
    """What a browser would say in its upload."""
    kind, encoding = mimetypes.guess_type(name, strict=False)
    if encoding:
        return {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(encoding, _UNKNOWN)
    return _UNKNOWN if kind in {None, "application/octet-stream"} else str(kind)


def _rank(name: str) -> int:
    if name.lower().endswith(_CODE):
        return _CODE_RANK
    kind = content_type(name)
    known = next((rank for rank, kinds in enumerate(_RANKS) if kind.startswith(kinds)), len(_RANKS))
    return _CODE_RANK + 1 if kind == _UNKNOWN else known


def _as_file(path: Path) -> RealFile | None:
    """The file with its size; None where it went meanwhile, or is not ours to read."""
    try:
        size = path.stat().st_size
    except OSError:
        return None
    return RealFile(path=path, name=path.name, size=size, content_type=content_type(path.name)) if os.access(path, os.R_OK) else None


def _walk(folders: Iterable[Path], skipped: Collection[str]) -> Iterator[Path]:
    """Regular files, links not followed; without asking for any file's size, since that takes seconds on a cold disk."""
    seen: set[str] = set()
    waiting = [str(folder) for folder in reversed(list(folders))]
    while waiting:
        folder = waiting.pop()
        if folder in seen:  # site-packages lies within the standard library where there is no virtual environment
            continue
        seen.add(folder)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue
        waiting += [entry.path for entry in reversed(entries) if entry.is_dir(follow_symlinks=False) and entry.name not in skipped]
        yield from (Path(entry.path) for entry in entries if entry.is_file(follow_symlinks=False))
