"""The table read a page at a time: each row planned, its keys written to the entries, a few rows kept as a sample."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sqlalchemy import Engine, String, inspect

from app.assets import AssetRow, Assets, TableNames
from app.database import transaction
from app.key_values import is_utf8
from app.look_costs import LISTED_COST, PAGE_COST
from app.looks import WORTH
from app.plan.drift import RowSample
from app.plan.entries import Entries, Entry, Role
from app.plan.patience import patiently
from app.plan.problems import PARKING, Found, Kind
from app.planning import Plan, Rules
from app.reflection import reflect, split_name

PAGE_ROWS = 5000
PAGES_A_TRIAL = 20  # of so many pages one batch is tried for how close together its keys lie


@dataclass(slots=True)
class Locality:
    """What looking at the keys of a batch costs: one listing a folder with enough of them, else a HEAD each (app.looks)."""

    keys: int = 0
    lists: int = 0
    heads: int = 0

    def add(self, keys: list[str]) -> None:
        """Try the keys of one batch."""
        self.keys += len(keys)
        for count in Counter(key[: key.rfind("/") + 1] for key in keys).values():
            if PAGE_COST + count * LISTED_COST <= WORTH * count:
                self.lists += -(-count // 1000)
            else:
                self.heads += count

    def requests(self, looks: float) -> tuple[float, float]:
        """LISTs and HEADs of *looks* looks at a key."""
        return (looks * self.lists / self.keys, looks * self.heads / self.keys) if self.keys else (0.0, looks)


@dataclass(slots=True)
class Scanned:
    """What the rows alone tell."""

    rows: int = 0
    respelled: int = 0  # only the spelling of the key is corrected
    sample: RowSample = field(default_factory=RowSample)
    old_keys: Locality = field(default_factory=Locality)
    new_keys: Locality = field(default_factory=Locality)


class Scanner:
    """Reads the rows of one plan."""

    def __init__(self, engine: Engine, names: TableNames, rules: Rules, entries: Entries, found: Found, *, batch_rows: int) -> None:
        """Reflect the table; nothing is read yet."""
        self.assets = Assets(engine, names, rules.equivalence)
        self._engine = engine
        self._names = names
        self._rules = rules
        self._entries = entries
        self._found = found
        self._batch_rows = batch_rows
        key_type = self.assets.key_type
        self._longest = key_type.length if isinstance(key_type, String) else None

    def run(self, progress: Callable[[int], None]) -> Scanned:
        """Read all rows of the run, then the keys that others name."""
        scanned = Scanned()
        for number, page in enumerate(self._pages(self.assets)):
            plans = [(row, self._rules.plan(row)) for row in page]
            self._write(plans, scanned)
            if number % PAGES_A_TRIAL == 0:
                moving = [plan for _, plan in plans[: self._batch_rows] if plan.reason is None and not plan.in_place]
                scanned.old_keys.add([plan.old_key for plan in moving])
                scanned.new_keys.add([plan.new_key for plan in moving])
            progress(scanned.rows)
        with transaction(self._engine, read_only=True) as connection:
            nameless = self.assets.count_nameless(connection)
        if nameless:
            self._found.add(Kind.NAMELESS, None, rows=nameless)
        self._others()
        return scanned

    def _pages(self, assets: Assets) -> Iterator[list[AssetRow]]:
        """The pages; the next one is read while the caller is busy with this one."""

        def read(after: str | None) -> list[AssetRow]:
            with transaction(self._engine, read_only=True) as connection:
                return assets.page(connection, after=after, limit=PAGE_ROWS)

        with ThreadPoolExecutor(1) as reader:
            page = patiently(lambda: read(None))
            while page:
                ahead = reader.submit(patiently, functools.partial(read, page[-1].row_id))
                yield page
                page = ahead.result()

    def _write(self, plans: list[tuple[AssetRow, Plan]], scanned: Scanned) -> None:
        entries: list[Entry] = []
        parked: list[str] = []
        canonical = self._rules.equivalence.canonical
        for row, plan in plans:
            scanned.rows += 1
            scanned.sample.offer(plan)
            kind, detail = self._refusal(plan)
            if kind is not None:
                self._found.add(kind, plan.row_id, detail)
                parked += [plan.row_id] if kind in PARKING else []
                if usable(row.key):
                    entries.append((canonical(str(row.key)), Role.NAMED, plan.row_id))
            elif plan.in_place or plan.old_hash == plan.new_hash:
                scanned.respelled += plan.old_key != plan.new_key
                entries.append((canonical(plan.old_key), Role.PLACED, plan.row_id))
            else:
                entries.append((canonical(plan.old_key), Role.OLD, plan.row_id))
                entries.append((canonical(plan.new_key), Role.NEW, plan.row_id))
        self._entries.add(entries)
        self._entries.park(parked)

    def _refusal(self, plan: Plan) -> tuple[Kind | None, str | None]:
        if plan.reason is not None:
            return Kind(plan.reason), plan.detail
        if self._longest is not None and len(plan.new_key) > self._longest and not plan.in_place:
            return Kind.REJECTED, f"the new key has {len(plan.new_key)} characters, the column takes {self._longest}"
        return None, None

    def _others(self) -> None:
        """What rows outside WHERE and the columns in REFERENCES name: it stays, and nothing comes to lie there."""
        names = self._names
        if names.where:
            rest = dataclasses.replace(names, where=f"CASE WHEN ({names.where}) THEN 0 ELSE 1 END = 1")
            self._note(Assets(self._engine, rest, self._rules.equivalence), own=True)
        for reference in names.references:
            table, _, column = reference.rpartition(".")
            self._note(Assets(self._engine, self._reference(table, column.strip('"')), self._rules.equivalence), own=False)

    def _note(self, assets: Assets, *, own: bool) -> None:
        for page in self._pages(assets):
            keys = [(str(row.key), row.row_id if own else None) for row in page if usable(row.key)]
            self._entries.add([(self._rules.equivalence.canonical(key), Role.NAMED, row_id) for key, row_id in keys])

    def _reference(self, table: str, column: str) -> TableNames:
        """Another table, to be read by its primary key, or by the column itself where it has none."""
        schema, name = split_name(table)
        reflect(self._engine, table, setting="REKEY_REFERENCES")
        key = inspect(self._engine).get_pk_constraint(name, schema)["constrained_columns"] or [column]
        return TableNames(
            table=table,
            id_columns=tuple(key),
            client_column=column,
            key_column=column,
            name_column=None,
            template_columns=(),
            where=None,
            references=(),
            version_column=None,
        )


def usable(key: object) -> bool:
    """Whether *key* can name an object at all."""
    return isinstance(key, str) and bool(key) and is_utf8(key)
