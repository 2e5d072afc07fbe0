"""ListObjectsV2 over names in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class NamePage:
    """Names of one page, in the store's order."""

    names: Sequence[str]
    truncated: bool
    last: str | None


def without_nested(names: Iterable[str]) -> list[str]:
    """*names* without those below another name as in a folder, which MinIO's listings hide."""
    known = set(names)
    return [name for name in known if not any(name[:at] in known for at, letter in enumerate(name) if letter == "/")]


def list_names(
    names: Iterable[str], *, prefix: str, start_after: str, delimiter: str, limit: int, by_folder: bool, collated: bool = False
) -> NamePage:
    """One page; *by_folder*: in the order of a tree of folders ("p/x" before "p-b"), as SeaweedFS lists, instead of byte by byte.

    *collated*: as a dictionary has them, and a database that keeps a store's names may.
    """
    entries: dict[str, bool] = {}  # name or common prefix -> whether it is an object
    for name in names:
        if not name.startswith(prefix) or name <= start_after:
            continue
        end = name.find(delimiter, len(prefix)) if delimiter else -1
        if end < 0:
            entries[name] = True
        else:
            entries[name[: end + len(delimiter)]] = False
    ordered = sorted(entries, key=lambda name: name.split("/")) if by_folder else sorted(entries, key=str.lower if collated else None)
    shown = ordered[:limit]
    return NamePage([name for name in shown if entries[name]], len(ordered) > limit, max(shown, default=None))
