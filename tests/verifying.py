"""Verification and repair of a world of the unit tests, as ``rekey verify`` does them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.assets import Assets
from app.run_settings import table_names
from app.verification.findings import Finding, Kind
from app.verification.healing import heal
from app.verification.repair import find
from app.verification.repair_report import summary
from app.verification.subject import Subject
from app.verification.verify import verify
from app.verification.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from app.ledger.records import Run
    from tests.builders import World

WHERE = {"bucket": "assets", "table": "assets"}


@dataclass
class Silent:
    """Progress that is only counted."""

    phases: list[str] = field(default_factory=list)
    done: int = 0

    def phase(self, name: str, total: int | None = None) -> None:  # noqa: ARG002 - the protocol's
        """A phase begins."""
        self.phases.append(name)

    def advance(self, count: int) -> None:
        """So many more."""
        self.done += count


def subject_of(world: World, run: Run | None = None, **changes: Any) -> Subject:  # noqa: ANN401 - fields of Subject
    """What is verified of *world*."""
    context = world.context
    made = Subject(
        engine=world.engine,
        assets=Assets(world.engine, dataclasses.replace(table_names(context.settings), where=None), context.rules.equivalence),
        store=world.store,
        moves=context.moves,
        runs=context.runs,
        rules=context.rules,
        run=run,
        has_ledger=True,
        settle_seconds=context.settings.settle_seconds,
        policy=context.settings.fidelity_policy,
        whole_table=context.settings.where is None,
        clock=world.clock,
        progress=Silent(),
        sleep=world.later,
    )
    return dataclasses.replace(made, **changes)


def workspace(folder: Path, *, resume: bool = False) -> Workspace:
    """A workspace in *folder*."""
    return Workspace(folder / "verify.db", {"of": "a test"}, resume=resume)


@dataclass(frozen=True)
class Verified:
    """The report and all findings."""

    report: dict[str, Any]
    findings: list[Finding]

    def of(self, kind: Kind) -> list[Any]:
        """The rows of the findings of a kind, or their keys where they are about no row."""
        return sorted(each.row_id or each.key for each in self.findings if each.kind is kind)

    def kinds(self) -> dict[str, int]:
        """Faults and notes by kind."""
        return {**self.report["faults"], **self.report["notes"]}


def verified(world: World, run: Run | None = None, *, headers: bool = False, **changes: Any) -> Verified:  # noqa: ANN401 - fields of Subject
    """Verify *world* from the beginning; nothing may be written to its bucket."""
    before = len(world.writes())
    work = workspace(world.folder)
    try:
        report = verify(subject_of(world, run, **changes), work, headers=headers)
        found = list(work.findings())
    finally:
        work.close(remove=True)
    assert world.writes()[before:] == []
    return Verified(report, found)


def repaired(world: World, *, really: bool = True, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of Subject
    """Repair *world*'s table from the journal; what was found and what was done."""
    work = workspace(world.folder)
    try:
        subject = subject_of(world, **changes)
        find(subject, work, **WHERE)
        found = summary(work)
        return found | (heal(subject, work, **WHERE).as_object() if really else {})
    finally:
        work.close(remove=True)
