"""The independent recount at the end: bucket and table as they are, against the service's own book and against the run's report.

It asks the store for every object and the table for every row, by the service's own means. The ledger is asked for one thing only: which
old objects and copies it says it has left behind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.demo.service import OLD_FOLDER, TROUBLE, Asset, Bucket, Table, in_words
from app.demo.stock import pool

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_LEFT_BEHIND = """
SELECT old_key FROM rekey_moves WHERE state IN ('kept', 'parked')
UNION SELECT new_key FROM rekey_moves WHERE detail LIKE '%copy was left at%'
"""
_PARKED = "SELECT reason, row_id, detail FROM rekey_moves WHERE state = 'parked' ORDER BY id"


@dataclass(slots=True, kw_only=True)
class Recount:
    """What was counted, and what is not as it should be."""

    rows: int = 0
    objects: int = 0
    switched: int = 0  # assets that had an old key and were seen at a new one, removed ones included
    deleted: int = 0  # those of them whose old object is gone
    left: int = 0  # objects that no row names, and that the ledger says it left
    lost_writes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def recount(table: Table, bucket: Bucket, assets: Sequence[Asset], *, foreign: Collection[Asset] = ()) -> Recount:
    """Look at every row and every object."""
    rows = table.keys()
    objects = bucket.keys()
    result = Recount(rows=len(rows), objects=len(objects))
    with pool() as threads:
        verdicts = threads.map(lambda asset: _look_at(asset, rows.get(asset.id), bucket), assets)
        for asset, problem in zip(assets, verdicts, strict=True):
            if problem:
                written = asset.removed_at is not None or len(asset.versions) > 1 or not asset.first_key.startswith(OLD_FOLDER)
                (result.lost_writes if written else result.wrong).append(f"asset {asset.id} of client {asset.client}: {problem}")
    known = {asset.id for asset in assets}
    result.wrong += [f"the foreign object {each.first_key!r} changed" for each in foreign if _look_at(each, each.first_key, bucket)]
    result.wrong += [f"row {row_id} is nobody's" for row_id in rows if row_id not in known]
    _count_moved(result, assets, rows, objects)
    noted = {key for (key,) in table.select(_LEFT_BEHIND)}
    unnamed = objects - set(rows.values()) - {each.first_key for each in foreign}
    result.left = len(unnamed & noted)
    result.wrong += [f"no row names the object {key!r}, and the ledger does not list it" for key in sorted(unnamed - noted)]
    return result


def _look_at(asset: Asset, key: str | None, bucket: Bucket) -> str | None:
    """What is wrong with one asset; None if nothing is."""
    try:
        if asset.removed_at is not None:
            return _look_at_removed(asset, key, bucket)
        if key is None:
            return "its row is gone"
        found = bucket.get(key)
    except TROUBLE as error:
        return in_words(error)
    if not asset.settled:
        return None if found is None else f"it never had an object, and there is one at {key!r}"
    if found is None:
        return f"no object {key!r}"
    return None if found.is_version(asset.newest) else f"other bytes or another content type at {key!r} than were written last"


def _look_at_removed(asset: Asset, key: str | None, bucket: Bucket) -> str | None:
    if key is not None:
        return "it was removed, and its row is there again"
    gone = asset.removed_key is None or bucket.get(asset.removed_key) is None
    return None if gone else f"it was removed, and there is an object {asset.removed_key!r} again"


def _count_moved(result: Recount, assets: Sequence[Asset], rows: Mapping[int, str], objects: Collection[str]) -> None:
    for asset in assets:
        key = rows.get(asset.id, asset.removed_key or asset.first_key)
        if asset.first_key.startswith(OLD_FOLDER) and key != asset.first_key:
            result.switched += 1
            result.deleted += asset.first_key not in objects


def compare(result: Recount, report: Mapping[str, Any]) -> list[str]:
    """Where the run's report and the recount differ."""
    pairs = {"renamed": result.switched, "deleted": result.deleted}
    return [f"the report says {report[name]} {name}, the recount {counted}" for name, counted in pairs.items() if report[name] != counted]


def examples_of_parked(table: Table) -> dict[str, str]:
    """One parked row of each reason, in the ledger's words."""
    found: dict[str, str] = {}
    for reason, row_id, detail in table.select(_PARKED):
        found.setdefault(reason, f"row {row_id.strip('[]')}: {detail}")
    return found
