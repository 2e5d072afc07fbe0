"""Hashes of what the world holds: what a call finds decides what its party does next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tests.model.ground import Ground


class Contents:
    """The contents of one ground's tables, objects and queues."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._tables: dict[str, int] = {}  # 0: not known

    def begin(self, tables: Mapping[str, int]) -> None:
        """A new schedule, on tables of these contents."""
        self._tables = dict(tables)

    def read_all(self) -> dict[str, int]:
        """Find out which tables there are, and read them."""
        names = self._ground.raw.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        self._tables = dict.fromkeys([f"table {name}" for (name,) in names], 0)
        return dict(self.tables())

    def tables(self) -> Mapping[str, int]:
        """A hash of each table's content."""
        for name, content in self._tables.items():
            if not content:
                self._tables[name] = hash(tuple(self._ground.raw.execute(f"SELECT * FROM {name.removeprefix('table ')}")))
        return self._tables

    def content(self, resource: str) -> int:
        """A hash of what a resource is."""
        kind, _, name = resource.partition(" ")
        if kind == "clock":
            return hash((self._ground.clock.boot(), self._ground.database_clock.skew))
        if kind == "object":
            return hash((self._versions(name), repr(self._ground.store._uploads), repr(self._ground.store._upload_numbers)))
        if kind == "listing":
            return hash(tuple((name, self._versions(name)) for name in sorted(self._ground.store._bucket._versions)))
        if kind == "queue":
            return hash(repr([ids for stage, ids in self._ground.messages if (stage.name if stage else "seed") == name]))
        return self.tables()[resource] if kind == "table" else 0

    def _versions(self, name: str) -> tuple[object, ...]:
        versions = self._ground.store._bucket._versions.get(name, ())
        return tuple((item.body, item.etag, item.last_modified, item.version_id, item.tags, *item.headers.items()) for item in versions)

    def forget(self, written: Collection[str]) -> None:
        """The content of what was written is not known any more."""
        for name in written:
            if name in self._tables:
                self._tables[name] = 0
