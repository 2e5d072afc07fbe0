"""What a round showed: table and bucket counted again, against the service's book and against what the run says of itself (O1 to O4).

The ledger is asked for one thing only: which objects it lists as left where they are, and why.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.acceptance.service import Service
    from tests.chaos.book import Book, Living
    from tests.chaos.evidence import Evidence
    from tests.chaos.saboteur import Strike

_LOST = re.compile(r"(\d+) leases were lost")
_LISTED = re.compile(r"left at ('(?:[^'\\]|\\.)*')")
_MOVES = "SELECT row_id, state, parked_from, reason, detail, old_key, new_key FROM rekey_moves"
_BOTH_CHANGED = ["parked", "renamed", "conflict", "old and new object both changed after the switch"]
_OUTCOMES = ("deleted", "kept", "in_place", "parked", "superseded", "cancelled", "rolled_back", "open")
_RECORD = re.compile(r"^(?=\d{4}-\d\d-\d\dT)", re.MULTILINE)  # where a record of a log begins; what follows without a time belongs to it
_TOLD = 12  # lines of a traceback that say where it ended
_CHANGING = ("seconds", "per_second", "eta_seconds")  # between two looks at the same run
_GROWING = "canary_reads"  # a tick that was under way at the run's end notes its reads afterwards


@dataclass(slots=True)
class Verdict:
    """All of it; the lists must be empty."""

    seed: int
    report: dict[str, Any] = field(default_factory=dict)  # what `enqueue --watch --json` said at the end
    strikes: list[Strike] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)  # faults of the plan that never found work in flight
    not_replaced: list[str] = field(default_factory=list)  # killed processes that no supervisor started again
    failed_reads: list[str] = field(default_factory=list)
    failed_writes: list[str] = field(default_factory=list)
    lost_writes: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)  # in the workers' logs
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def findings(self) -> dict[str, list[str]]:
        """What is not as it must be, by kind."""
        names = ("missed", "not_replaced", "failed_reads", "failed_writes", "lost_writes", "differences", "tracebacks")
        return {name: getattr(self, name)[:10] for name in names if getattr(self, name)}

    @property
    def hits(self) -> Counter[str]:
        """How often each kind of fault hit work in flight."""
        return Counter(strike.kind for strike in self.strikes if strike.hit)

    def story(self) -> str:
        """Seed, faults and figures, for whoever has to find out what happened."""
        lines = [f"seed {self.seed}", *(f"  {strike}" for strike in self.strikes)]
        told = [f"  {name}: {each}" for name, found in self.findings.items() for each in found]
        return "\n".join([*lines, f"  {self.figures}", f"  {self.report}", *told])


class Recount:
    """Every row and every object, by the service's own means."""

    def __init__(self, service: Service, book: Book, evidence: Evidence) -> None:
        self.service = service
        self.book = book
        self._evidence = evidence
        self.rows: dict[int, str] = service.table.keys()
        self.objects = service.bucket.keys()
        self.moves = {json.loads(row_id)[0]: rest for row_id, *rest in evidence.ask(_MOVES)}
        self.listed = {key for rest in self.moves.values() for key in _listed(*rest)}

    def lost_writes(self) -> list[str]:
        """Assets that are not there with their newest bytes."""
        return [problem for one in self.book.living if (problem := self._look_at(one))]

    def _look_at(self, one: Living) -> str | None:
        key = self.rows.get(one.asset.id)
        if one.row_is_gone:
            again = one.object_is_gone and one.removed_key in self.objects and one.removed_key not in self.listed
            return f"asset {one.asset.id} was removed, and is there again" if again or key is not None else None
        if key is None:
            return None if one.removing else f"the row of asset {one.asset.id} is gone"
        content = self.service.bucket.get(key) if key in self.objects else None
        seen = one.version_of(content) if content is not None else None
        newest = one.known(float("inf"))
        return None if seen is not None and seen >= newest else f"asset {one.asset.id}: version {seen} of {newest} at {key!r}"

    def differences(self) -> list[str]:
        """Rows that name neither their new key nor, with a reason on record, their old one; objects too many or too few."""
        book = [*self.book.living, *self.book.unsure]
        known = {one.asset.id for one in book}
        wrong = [f"row {number} is nobody's" for number in self.rows.keys() - known]
        wrong += [
            f"row {one.asset.id} names {key!r}, and the ledger says {self.moves.get(one.asset.id)}"
            for one in self.book.living
            if (key := self.rows.get(one.asset.id)) is not None and not one.has_new(key) and not self._may_stay(one, key)
        ]
        unsure = {key for one in book if not one.is_certain or one.removing for key in self._keys_of(one)}
        unsure -= {key for one in book if one.row_is_gone and one.object_is_gone for key in self._keys_of(one)}
        expected = set(self.rows.values())
        wrong += [f"there is an object {key!r}, unlisted" for key in sorted(self.objects - expected - self.listed - unsure)]
        wrong += [f"there is no object {key!r}" for key in sorted(expected - self.objects - unsure)]
        return wrong

    def _keys_of(self, one: Living) -> set[str]:
        """Where an asset's object may be."""
        named = {self.rows.get(one.asset.id), one.removed_key, None if one.shares_name else one.asset.new_key}
        return {one.asset.old_key, *(key for key in named if key is not None)}

    def _may_stay(self, one: Living, key: str) -> bool:
        """Parked, or added when the last page of the seed was past."""
        move = self.moves.get(one.asset.id)
        return key == one.asset.old_key and (one.asset.id > self.book.first if move is None else move[0] == "parked")

    def disagreements(self, report: dict[str, Any], status: int, later: dict[str, Any]) -> list[str]:
        """Where the run's own report, its exit status or a later `rekey status --json` say something else."""
        movable = [one for one in (*self.book.living, *self.book.unsure) if one.first_key == one.asset.old_key]
        at_new = [one for one in movable if one.has_new(self.rows.get(one.asset.id)) or one.has_new(one.removed_key)]
        slack = sum(one.removing and not one.row_is_gone for one in movable)  # the key that their row had last is not known
        parked_switched = sum(move[0] == "parked" and move[1] == "renamed" for move in self.moves.values())
        wanted = {
            "state": "finished",
            "open": 0,
            "rows": sum(report[name] for name in _OUTCOMES),
            "renamed": report["deleted"] + report["kept"] + parked_switched,
            "deleted": len([one for one in at_new if one.asset.old_key not in self.objects]),
        }
        wrong = [
            f"the report says {name} {report[name]!r}, the recount {value!r}"
            for name, value in wanted.items()
            if report[name] != value and not (name == "deleted" and abs(report[name] - int(value)) <= slack)
        ]
        if abs(report["renamed"] - len(at_new)) > slack:
            wrong.append(f"the report says {report['renamed']} renamed, the recount {len(at_new)}")
        if report["copied"] - report["renamed"] > report["parked"]:
            wrong.append(f"{report['copied']} copied, {report['renamed']} renamed, and only {report['parked']} parked")
        unseen = sum(one.asset.id not in self.moves and self.rows.get(one.asset.id) == one.asset.old_key for one in movable)
        if report["unseen"] > unseen:
            wrong.append(f"the report says {report['unseen']} unseen, the recount {unseen}")
        if status != (3 if report["parked"] or report["unseen"] else 0):
            wrong.append(f"exit status {status} with {report['parked']} parked and {report['unseen']} unseen")
        if later[_GROWING] < report[_GROWING]:
            wrong.append(f"the report says {report[_GROWING]} {_GROWING}, status {later[_GROWING]}")
        first, last = ({name: value for name, value in each.items() if name not in {*_CHANGING, _GROWING}} for each in (report, later))
        return wrong if first == last else [*wrong, f"status says {last}"]

    def stranded(self) -> int:
        """Assets parked since a killed worker left a copy without a record, and the service wrote the old object since.

        Only bytes and headers equal to the source's would show that the copy is the tool's (H12, S3): another's object is not overwritten.
        """
        return sum(move[:3] == ["parked", "planned", "target_exists"] for move in self.moves.values())

    def other_parked(self) -> list[str]:
        """Assets parked for any other reason, but for those whose upload nobody is sure of."""
        unsure = {one.asset.id for one in self.book.unsure}
        found = {number: move for number, move in self.moves.items() if move[0] == "parked" and number not in unsure}
        foreseen = dict.fromkeys(self.book.fragile, "fidelity") | dict.fromkeys(self._crossed(), "conflict")
        return [
            f"asset {number} was parked: {move}" for number, move in found.items() if move[2] not in {"target_exists", foreseen.get(number)}
        ]

    def _crossed(self) -> list[int]:
        """Assets that the service wrote at the new key after a write to the old one that overlapped the switch.

        It writes there once it sees its late write copied. Where the answer to that copy got lost, the tool sees two changed objects, and
        cannot know that the one is the other's successor: it leaves both (S2, H1).
        """
        both = {number for number, move in self.moves.items() if move[:4] == _BOTH_CHANGED}
        keys = {one.asset.id: [version.key for version in one.versions[1:]] for one in self.book.living if one.asset.id in both}
        old = {one.asset.id: one.asset.old_key for one in self.book.living}
        return [number for number, written in keys.items() if old[number] in written and written[-1] != old[number]]

    def lost_attributes(self) -> list[str]:
        """Assets that were moved without what their copy could not have, as long as the service has not written them anew."""
        fragile = [one for one in self.book.living if one.asset.id in self.book.fragile and len(one.versions) == 1 and not one.removing]
        return [
            f"asset {one.asset.id} was moved without its checksum" for one in fragile if self.rows.get(one.asset.id) != one.asset.old_key
        ]

    def unfinished(self) -> list[str]:
        """Uploads that the ledger still knows of, though the run is over."""
        return [f"an upload of {key!r} was left" for (key,) in self._evidence.ask("SELECT object_key FROM rekey_uploads WHERE NOT is_gone")]


def tracebacks(logs: Mapping[str, str]) -> list[str]:
    """What the logs have of exceptions: each with its log's name, its record's first line (when, and what was said) and its last lines.

    Those that were handled on the way ("During handling of the above") belong to the same record.
    """
    found = []
    for name, text in logs.items():
        for record in _RECORD.split(text):
            said, *rest = record.rstrip().splitlines() or [""]
            if any(line.startswith("Traceback") for line in (said, *rest)):
                found.append("\n".join([f"{name}: {said}", *rest[-_TOLD:]]))
    return found


def lost_leases(logs: str) -> int:
    """How many leases the reconciler found lost."""
    return sum(int(found) for found in _LOST.findall(logs))


def _listed(state: str, _parked_from: str, _reason: str, detail: str | None, old_key: str, new_key: str) -> set[str]:
    """The objects that a move's outcome lists as left."""
    named = {found[1:-1] for found in _LISTED.findall(detail or "")}
    return named | {"kept": {old_key}, "parked": {old_key, new_key}}.get(state, set())
