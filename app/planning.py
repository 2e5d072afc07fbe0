"""From a row of the assets table to what its move shall be. Pure: no store, no database."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from app.assets import AssetRow
from app.key_suffix import suffix_of
from app.key_values import RESERVED_PREFIX, is_utf8
from app.object_keys import Equivalence, Folds, KeyRefusedError, Template, key_hash
from app.placing import Placing
from app.settings import Settings
from app.states import ParkedReason, RunKind

LONGEST_KEPT = 2048  # characters of a value that is no key: a column may hold a megabyte, the ledger's take less


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a row asks for: a move, nothing (``in_place``), or the reason why it cannot be moved."""

    row_id: str
    client: str | None
    old_key: str
    new_key: str
    old_hash: bytes
    new_hash: bytes
    in_place: bool = False
    reason: ParkedReason | None = None
    detail: str | None = None
    own_key: str | None = None  # for the case that another asset has the new key: one with a suffix (REKEY_ON_COLLISION=suffix)
    own_hash: bytes | None = None

    def with_own_key(self) -> Plan:
        """The plan for that case; this one, if there is no such key."""
        if self.own_key is None or self.own_hash is None:
            return self
        return replace(self, new_key=self.own_key, new_hash=self.own_hash, own_key=None, own_hash=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of one run: its template, its bucket and what the store takes for the same key."""

    bucket: str
    template: Template
    equivalence: Equivalence
    suffix_in: str | None = None  # the table, where a row gets a suffix if another asset has its new key; None: it is parked then
    longest_key: int | None = None  # characters that the key column takes
    target_bucket: str | None = None  # where the new keys' objects lie, if it is another bucket

    @property
    def placing(self) -> Placing:
        """Which bucket holds what."""
        return Placing(source=self.bucket, target=self.target_bucket, template=self.template, equivalence=self.equivalence)

    def hash_of(self, key: str) -> bytes:
        """The ledger's name for the object that *key* means."""
        bucket = self.bucket if self.target_bucket is None else self.placing.bucket_of(key)
        return key_hash(bucket, self.equivalence.canonical(key))

    def plan(self, row: AssetRow) -> Plan:
        """What *row* asks for."""
        client = None if row.client is None else printable(row.client)[:LONGEST_KEPT]
        try:
            if not all(is_utf8(value) for value in row.id if isinstance(value, str)):
                raise KeyRefusedError(ParkedReason.BAD_NAME, "the row's id holds bytes that are no UTF-8 text")  # noqa: TRY301
            self._refuse_reserved(row.key, "the key column names")
            if self.template.is_in_place(row.key, row.client, row.columns):
                return self._plan(row, client, str(row.key), str(row.key), in_place=True)
            new_key = self.template.new_key(row.key, row.client, row.name, row.columns, equivalence=self.equivalence)
            self._refuse_reserved(new_key, "the template gives")
            own_key = self._own_key(row, new_key)
        except KeyRefusedError as error:
            old_key = printable(row.key)[:LONGEST_KEPT]
            return Plan(
                row_id=row.row_id,
                client=client,
                old_key=old_key,
                new_key="",
                old_hash=self.hash_of(old_key),
                new_hash=self.hash_of(""),
                reason=error.reason,
                detail=error.detail,
            )
        own = {} if own_key is None else {"own_key": own_key, "own_hash": self.hash_of(own_key)}
        return self._plan(row, client, str(row.key), new_key, **own)

    def _own_key(self, row: AssetRow, new_key: str) -> str | None:
        """The key with a suffix for *row*, whose new key is *new_key*; none where both keys are one object: nothing has to move then."""
        if self.suffix_in is None or self.equivalence.same(str(row.key), new_key):
            return None
        suffix = suffix_of(self.suffix_in, row.row_id, str(row.key))
        try:
            return self.template.new_key(
                row.key, row.client, row.name, row.columns, equivalence=self.equivalence, suffix=suffix, longest=self.longest_key
            )
        except KeyRefusedError:  # no room for it
            return None

    def is_reserved(self, key: str) -> bool:
        """Whether the object that *key* means is one of the product's own, the journal among them."""
        return self.equivalence.canonical(key).startswith(RESERVED_PREFIX)

    def _refuse_reserved(self, key: object, what: str) -> None:
        if isinstance(key, str) and self.is_reserved(key):
            raise KeyRefusedError(ParkedReason.BAD_NAME, f"{what} a key below {RESERVED_PREFIX}, where asset-rekey keeps its own objects")

    def still_gives(self, row: AssetRow, new_key: str, *, same_object: bool) -> bool:
        """Whether *row*, as it is now, asks for *new_key*: the asset may have moved to another client meanwhile (H10)."""
        plan = self.plan(row)
        return plan.reason is None and (new_key in {plan.new_key, plan.own_key} or (plan.in_place and same_object))

    def _plan(self, row: AssetRow, client: str | None, old_key: str, new_key: str, **more: Any) -> Plan:  # noqa: ANN401 - fields of Plan
        return Plan(
            row_id=row.row_id,
            client=client,
            old_key=old_key,
            new_key=new_key,
            old_hash=self.hash_of(old_key),
            new_hash=self.hash_of(new_key),
            **more,
        )


class RollbackRules(Rules):
    """The rules of a rollback: the new key is the one that the ledger says the row came from, whatever the row holds by now."""

    def plan(self, row: AssetRow) -> Plan:
        """A row that names neither of its move's keys needs no rollback."""
        key = printable(row.key)
        client = None if row.client is None else printable(row.client)[:LONGEST_KEPT]
        return self._plan(row, client, key, key, in_place=True)

    def still_gives(self, row: AssetRow, new_key: str, *, same_object: bool) -> bool:  # noqa: ARG002 - as in Rules
        """The ledger says where the row came from."""
        return True


def printable(value: object) -> str:
    """Any value of a column as text that every database takes: what is no UTF-8, and NUL, written as escapes."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def rules_of(settings: Settings, capabilities: Folds, *, kind: RunKind = RunKind.MOVE) -> Rules:
    """The rules of a run, from its settings and what its store was seen to honour."""
    made = Rules if kind is RunKind.MOVE else RollbackRules
    return made(
        bucket=settings.s3_bucket,
        template=settings.key_template,
        equivalence=Equivalence.of(capabilities),
        suffix_in=settings.table if settings.on_collision == "suffix" else None,
        target_bucket=settings.target_bucket,
    )
