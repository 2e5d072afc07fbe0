"""What the ledger's rows are in the program: Run, Move, Lease, Outcome."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from app.clock import Clock
from app.fidelity_rules import Attribute
from app.object_store import Capabilities, ObjectInfo
from app.states import OPEN_STATES, KeptReason, MoveState, ParkedReason, RunKind, RunState

_PARTS = ("etag", "size", "store_time", "version")  # of a version: a column each, after whose it is
_NO_COLUMNS = frozenset({"source", "copy", "follows"})  # fields of a Move that several columns hold, or that follow from others


JOURNAL_MARK = "journal_mark"  # among the settings of a run: empty until its first page is planned with one


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run as the ledger has it."""

    no: int
    id: str
    bucket: str
    table_name: str
    kind: RunKind
    origin_no: int | None
    selection: Mapping[str, Any]
    plan_id: str | None
    state: RunState
    is_live: bool  # it has not ended: a cancelled run lives until its open moves have ended
    knobs: Mapping[str, Any]
    hold_deletes: bool
    deletes_left: int | None
    settings: Mapping[str, Any]
    capabilities: Capabilities
    rows_estimate: int
    next_move: int
    seed_cursor: str | None
    seed_pass: int
    seed_planned: int
    seed_done: bool
    seed_due_at: int
    unseen: int
    suspect_until: int
    deletes_held_until: int
    tick_at: int
    tick_boot: int
    tick_host: str
    created_at: int
    finished_at: int | None
    created_by: str
    version: str
    rates: Mapping[str, int] = field(default_factory=dict)  # that the reconciler has decided, by stage (app.throttling)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Run:
        """Build a run from a row of rekey_runs, with its rates where they were read with it."""
        values = {name: row[name] for name in cls.__slots__ if name in row}
        values["kind"], values["state"] = RunKind(values["kind"]), RunState(values["state"])
        values["is_live"] = row["live_hash"] is not None
        values |= {name: json.loads(values[name]) for name in ("selection", "knobs", "settings")}
        values["rates"] = json.loads(values.get("rates") or "{}")
        values["capabilities"] = Capabilities.from_record(json.loads(values["capabilities"]))
        return cls(**values)

    @property
    def journal_mark(self) -> str | None:
        """The key of the mark that stands for a whole journal (app.journal), where the run has one."""
        return str(self.settings.get(JOURNAL_MARK) or "") or None

    @property
    def wants_mark(self) -> bool:
        """Whether it is to have one and has none yet."""
        return self.settings.get(JOURNAL_MARK) == ""


class Move(NamedTuple):
    """One asset's move. ``source`` and ``copy`` describe the versions that were copied and written; see app.schema for the rest.

    A tuple, since some ten of them are made for each asset: a frozen dataclass of as many fields took 5 us, and 8 to be changed (0.1, 0.8).
    """

    run_no: int
    id: int
    row_id: str
    client: str | None
    generation: int
    old_key: str
    new_key: str
    old_hash: bytes
    new_hash: bytes
    state: MoveState
    parked_from: MoveState | None = None
    reason: ParkedReason | KeptReason | None = None
    detail: str | None = None
    waiting: bool = False
    source: ObjectInfo | None = None
    copy: ObjectInfo | None = None
    copy_recorded: bool = False
    claimed_store_time: int | None = None
    claims: int = 0
    attempts: int = 0
    changes: int = 0
    missed_store_time: int | None = None
    deaths: int = 0
    suspect: bool = False
    grace_seconds: int = 0
    switched_at: int | None = None
    grace_from: int | None = None
    switch_store_time: int | None = None
    looks: int = 0
    sighted: bool = False
    intent_at: int | None = None
    follows: bool = False  # of a rollback: another of its moves has the claim on the new key, since both left that object

    @property
    def same_object(self) -> bool:
        """Whether both keys are spellings of one object, so that only the row's text may need correction (case 1)."""
        return self.old_hash == self.new_hash

    def is_our_copy(self, found: ObjectInfo) -> bool:
        """Whether *found* is the very copy on record.

        A PUT's answer tells no time but that it was written by then; nothing older can be there, since our write was refused unless
        the key was free or held an earlier copy of ours.
        """
        return self.copy is not None and is_written(self.copy, found)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Move:
        """Build a move from a row of rekey_moves."""
        return reader(tuple(row))(tuple(row.values()))

    def to_row(self) -> dict[str, Any]:
        """The columns of rekey_moves that say the same."""
        values = {name: getattr(self, name) for name in self._fields if name not in _NO_COLUMNS}
        return values | _columns("source", self.source) | _columns("copy", self.copy)


@lru_cache(maxsize=16)
def reader(columns: tuple[str, ...]) -> Callable[[Sequence[Any]], Move]:
    """What makes moves of rows of rekey_moves with those *columns*, all that a move says among them."""
    at = {name: number for number, name in enumerate(columns)}
    fields = {name: number for number, name in enumerate(Move._fields)}
    # What does not stand in one column gets its value below; until then it has any.
    take = itemgetter(*(at.get(name, 0) for name in Move._fields))
    source, copy = (itemgetter(*(at[f"{side}_{part}"] for part in _PARTS)) for side in ("source", "copy"))
    state, parked_from, reason, old_key, new_key, old_hash, new_hash = (
        fields[name] for name in ("state", "parked_from", "reason", "old_key", "new_key", "old_hash", "new_hash")
    )
    at_source, at_copy, follows, live_hash = fields["source"], fields["copy"], fields["follows"], at["live_hash"]

    def read(row: Sequence[Any]) -> Move:
        values = list(take(row))
        now = values[state] = MoveState(values[state])
        values[parked_from] = MoveState(values[parked_from]) if values[parked_from] else None
        values[reason] = reason_of(now, values[reason])
        values[old_hash], values[new_hash] = bytes(values[old_hash]), bytes(values[new_hash])
        values[at_source] = _info(values[old_key], *source(row))
        values[at_copy] = _info(values[new_key], *copy(row))
        values[follows] = row[live_hash] is None and now in OPEN_STATES and bool(values[new_key])
        return Move._make(values)

    return read


def is_written(recorded: ObjectInfo, found: ObjectInfo) -> bool:
    """Whether *found* is what a write of ours left, whose answer *recorded* keeps; the time in that is an upper bound."""
    if recorded.version_id is not None and found.version_id is not None:
        return recorded.version_id == found.version_id
    same_content = (recorded.etag, recorded.size) == (found.etag, found.size)
    return same_content and found.last_modified <= recorded.last_modified


def reason_of(state: MoveState, text: str | None) -> ParkedReason | KeptReason | None:
    """The reason that the ledger has for a move in *state*."""
    if not text:
        return None
    return KeptReason(text) if state is MoveState.KEPT else ParkedReason(text)


def _info(key: str, etag: str | None, size: int, last_modified: int, version_id: str | None) -> ObjectInfo | None:
    if etag is None:
        return None
    return ObjectInfo(key=key, etag=etag, size=size, last_modified=last_modified, version_id=version_id)


def _columns(side: str, info: ObjectInfo | None) -> dict[str, Any]:
    return {
        f"{side}_etag": info.etag if info else None,
        f"{side}_size": info.size if info else None,
        f"{side}_store_time": info.last_modified if info else None,
        f"{side}_version": info.version_id if info else None,
    }


@dataclass(slots=True, kw_only=True)
class Lease:
    """The right to act on some moves, kept by this machine's boot clock; no query a request (H35). Renewing it moves ``ends_at`` on."""

    token: str
    ends_at: float  # boot clock, seconds; counted from before the claim was sent
    clock: Clock

    def remaining(self) -> float:
        """Seconds left; zero or less once the lease is over."""
        return self.ends_at - self.clock.boot()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one claimed move: *move* as it shall be from now on, and when it is due again."""

    move: Move
    due_in: float = 0.0  # seconds from now by the database's clock; nobody claims it before
    stage: str | None = None  # the stage that is due next; None: the first one for the move's state
    hinted: bool = False  # a message for it is about to be sent: due again only if that gets lost
    keep_lease: bool = False  # a request is unanswered: nobody may act before the lease ends (S7)
    lost: frozenset[Attribute] | None = None  # attributes that the copy has not and its source has; None: as it was noted before
    stamp: frozenset[str] = frozenset()  # of "switched_at", "grace_from", "intent_at": set to the database's now
