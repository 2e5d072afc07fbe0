"""Five hundred objects go there and back, on MinIO and SeaweedFS: equal byte by byte and header by header, or parked with the reason."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.chains.corpus import COUNT, Item, Look, in_parallel, items, look_at, upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chains.live import Chain

INLINE = 4096  # above it objects go by parts where the store's copy is not safe
REASONS = {"bad_name", "too_long", "missing_source", "failed", "fidelity"}


@pytest.mark.timeout(400)
def test_five_hundred_objects_go_there_and_back(make_chain: Callable[..., Chain], monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared by an outsider's eyes with what was there before; what a copy lacks is what the ledger says of it."""
    monkeypatch.setattr("app.stages.writing.SINGLE_COPY_BYTES", 8000)  # so that some go by parts everywhere
    chain = make_chain(name_column="title", inline_bytes=INLINE, settle_seconds=2)
    chosen = items()
    taken = in_parallel(chain.bucket, upload, chosen)
    for item in chosen:
        chain.world.add(item.number, item.key, body=None, title=item.name)
    before = _looks(chain, chosen)
    chain.go()

    parked = chain.reasons()
    assert len(chosen) == COUNT
    assert set(parked.values()) <= REASONS
    assert {number for number, there in taken.items() if not there} <= parked.keys()
    moved = [item for item in chosen if item.number not in parked]
    assert len(moved) > COUNT * 0.9
    there = _looks(chain, [replace(item, key=f"clients/7/assets/{item.name}") for item in moved])
    assert _unlike(chain, moved, before, there) == {}
    stayed = [item for item in chosen if item.number in parked]
    assert _looks(chain, stayed) == {item.number: before[item.number] for item in stayed}
    chain.back()
    left = chain.reasons()
    home = [item for item in moved if item.number not in left]
    assert set(left.values()) <= {"target_exists", "fidelity"}
    assert _unlike(chain, home, before, _looks(chain, home)) == {}
    away = [replace(item, key=chain.keys()[item.number]) for item in moved if item.number in left]
    assert _looks(chain, away) == {item.number: there[item.number] for item in away}
    assert len(home) > COUNT * 0.9


def _looks(chain: Chain, chosen: list[Item]) -> dict[int, Look | None]:
    found = in_parallel(chain.bucket, lambda bucket, item: look_at(bucket, item.key), chosen)
    return {number: look if isinstance(look, Look) else None for number, look in found.items()}


def _unlike(chain: Chain, chosen: list[Item], before: dict[int, Look | None], after: dict[int, Look | None]) -> dict[str, set[str]]:
    """What is not as it was, by key; but for what the ledger says is not kept, and for ETags of what went by parts."""
    kept_back = _not_kept(chain)
    unlike: dict[str, set[str]] = {}
    for item in chosen:
        old, new = before[item.number], after[item.number]
        if old is None or new is None:
            unlike[item.key] = {"there"} if old is not new else set()
            continue
        said = kept_back.get(item.number, set())
        found = {name for name in old.differences(new) if _attribute(name) not in said}
        if len(item.body) > INLINE:
            found -= {"etag"}
        unlike[item.key] = found
    return {key: names for key, names in unlike.items() if names}


def _not_kept(chain: Chain) -> dict[int, set[str]]:
    """What the ledger says each copy of the run lacks, and each of the run before it."""
    rows = chain.world.sql(
        "SELECT m.row_id, l.attributes FROM rekey_losses l JOIN rekey_moves m ON m.run_no = l.run_no AND m.id = l.move_id"
    )
    found: dict[int, set[str]] = {}
    for row_id, attributes in rows:
        found.setdefault(int(row_id.strip("[]")), set()).update(attributes.split(","))
    return found


def _attribute(header: str) -> str:
    return "checksum" if header.startswith("x-amz-checksum-") else header.removeprefix("x-amz-").replace("-", "_")
