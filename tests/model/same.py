"""When two worlds are the same for all that comes: in everything but when it is, and who did what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.schema import ladders, moves, runs, uploads
from app.testing.requests import EPOCH
from tests.builders import MOVE_TIMES, RUN_TIMES
from tests.model.contents import stage_name

if TYPE_CHECKING:
    from tests.model.ground import Ground

_DATABASE_TIMES = frozenset({*MOVE_TIMES, *RUN_TIMES})
_AGES = frozenset({"switched_at", "grace_from", "tick_at"})  # how long they are past matters, of the others only whether they are
_HOLDERS = frozenset({"lease_token", "suspect_token"})  # nobody who is left holds anything: what matters is that it is held
_PAST = -300.0  # longer than everything that is waited for
_NOBODY_ASKS = frozenset({"updated_at", "created_at", "finished_at", "begun_at", "id_text"})


def comparable_state(ground: Ground) -> int:
    """A hash of rows, ledger, bucket and messages; times are told from now, to the second."""
    now = ground.clock.boot()
    skew = ground.database_clock.skew
    found: list[Any] = [tuple(ground.raw.execute("SELECT * FROM assets ORDER BY id"))]
    for table in (moves, runs, uploads, ladders):
        names = table.c.keys()
        rows = ground.raw.execute(f"SELECT * FROM {table.name}")
        found += [
            tuple(_from_now(*item, now, skew) for item in zip(names, row, strict=True) if item[0] not in _NOBODY_ASKS) for row in rows
        ]
    found.append(tuple(ground.raw.execute("SELECT run_no, rests FROM rekey_throttles")))
    found += [tuple(row) for row in ground.raw.execute("SELECT value FROM rekey_meta WHERE name LIKE 'canary:%'")]
    for name, versions in sorted(ground.store._bucket._versions.items()):
        found.append((name, tuple((item.body, item.etag, max(round(item.last_modified - EPOCH - now), _PAST)) for item in versions)))
    messages = tuple((stage_name(stage), tuple(ids)) for stage, ids in ground.messages)
    ghosts = ground.oracles.ghosts
    promised = frozenset((key, asset, round(until - now)) for key, asset, until in ghosts.promised if until >= now)
    return hash((*found, messages, ground.truth.key(), ghosts.damaged, promised, skew))


def _from_now(name: str, value: object, now: float, skew: float) -> object:
    if not isinstance(value, int) or not value:
        known = None if name == "id" else value  # a run is called by chance
        return value is not None if name in _HOLDERS else known
    if name == "intent_at":
        return True
    if name in _DATABASE_TIMES:
        from_now = round(value / 1e6 - EPOCH - now - skew)
        return max(from_now, _PAST if name in _AGES else 0)
    if name.endswith("store_time"):
        return max(round(value - EPOCH - now), _PAST)
    if name == "tick_boot":
        return max(round(value / 1e6 - now), _PAST)
    return value
