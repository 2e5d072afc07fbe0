"""The rows whose new key is another asset's and that get one with a suffix (REKEY_ON_COLLISION=suffix): which key, and what is there."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine

from app.assets import Assets
from app.database import transaction
from app.errors import BadKeyError
from app.object_store import ObjectInfo
from app.plan.bucket import VERIFIED, BucketWalk, Seen
from app.plan.entries import Entries
from app.plan.problems import Found, Kind
from app.planning import Plan, Rules


class Suffixes:
    """Plans such rows once more, a page at a time; the first VERIFIED of their keys are looked at: a hash is hardly ever taken."""

    def __init__(self, engine: Engine, assets: Assets, rules: Rules, entries: Entries, found: Found) -> None:
        self._engine = engine
        self._assets = assets
        self._rules = rules
        self._entries = entries
        self._found = found
        self._looked_at = 0

    def run(self, walk: BucketWalk) -> None:
        """Note what becomes of each."""
        for row_ids in self._entries.suffixed():
            plans = self._plans(row_ids)
            keys = [plan.own_key for plan in plans if plan.own_key is not None][: VERIFIED - self._looked_at]
            self._looked_at += len(keys)
            seen = walk.look(keys)
            self._entries.park([plan.row_id for plan in plans if not self._may_move(plan, seen)])

    def key_of(self, row_ids: Sequence[str]) -> dict[str, str]:
        """The keys with a suffix of those of the rows that get one."""
        chosen = self._plans(self._entries.suffixed_among(row_ids))
        return {plan.row_id: plan.own_key for plan in chosen if plan.own_key is not None}

    def _plans(self, row_ids: Sequence[str]) -> list[Plan]:
        with transaction(self._engine, read_only=True) as connection:
            rows = self._assets.rows(connection, row_ids)
        return [self._rules.plan(row) for row in rows.values()]

    def _may_move(self, plan: Plan, seen: dict[str, Seen]) -> bool:
        key = plan.own_key
        if key is None:
            self._found.add(Kind.COLLISION, plan.row_id, "another asset has the new key, and with a suffix it would be too long")
            return False
        there = seen.get(key)
        if isinstance(there, ObjectInfo):
            detail = f"an object of {there.size} bytes that no row names is at the key with the suffix"
            self._found.add(Kind.TARGET_EXISTS, plan.row_id, detail, new_key=key)
        elif isinstance(there, BadKeyError):
            self._found.add(Kind.BAD_NAME, plan.row_id, f"new key: {there}", new_key=key)
        else:
            self._found.add(Kind.SUFFIXED, plan.row_id, new_key=key)
        return not isinstance(there, ObjectInfo | BadKeyError)
