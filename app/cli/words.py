"""How a run stands in words: one line, or the summary at its end. Without rich, which takes longer to load than to ask the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.stage_report import held_back_by
from app.states import RELEASABLE, RunKind
from app.step_report import where

DONE = {"copy": "copied", "rename": "renamed", "delete": "deleted"}
STAGES = tuple(DONE.values())


def line(report: Mapping[str, Any], per_second: Mapping[str, float] | None = None) -> str:
    """One line: where the run stands, how fast each stage is of late, its time left, what holds it back, what was parked and why."""
    parts = [f"{_kind(report)} {report['run'][:8]} {report['state']}"]
    parts += [where(report["step"])] if report.get("step") else []
    lately = {stage: f" +{rate:.0f}/s" for stage, rate in (per_second or {}).items() if rate >= 1}
    parts += [f"{report[done]} {done}{lately.get(stage, '')}" for stage, done in DONE.items()]
    parts += [
        f"{report[name]} {name.replace('_', ' ')}" for name in ("in_place", "kept", "superseded", "waiting", "unseen") if report[name]
    ]
    parts.append(f"{report['open']} open of {report['rows']}")
    parts.append(f"{report['per_second']:.0f}/s in all")
    if report["eta_seconds"] is not None and report["open"]:
        parts.append(f"about {report['eta_seconds']} s left")
    back = held_back_by(report, per_second=per_second) if per_second else report["held_back_by"]
    parts += [f"held back by {back}"] if back else []
    if report["parked"]:
        parts.append(f"{report['parked']} parked: " + _counted(report["parked_reasons"]))
    if report["not_kept"]:
        parts.append(f"{report['not_kept']} moved without: " + _counted(report["not_kept_attributes"]))
    return " | ".join(parts)


def _kind(report: Mapping[str, Any]) -> str:
    return "rollback" if report.get("kind") == RunKind.ROLLBACK else "run"


def summary(report: Mapping[str, Any]) -> str:
    """The article's summary at the end: copied, renamed, deleted, and all else that the run has to say."""
    name = f"{_kind(report).capitalize()} {report['run'][:8]}"
    lines = [f"{name} {report['state']} after {report['seconds']:.1f} s, {report['per_second']:.0f} assets/s"]
    lines += [f"  {where(report['step'])}"] if report.get("step") else []
    lines += [f"  {name:<9} {report[name]:>9}" for name in STAGES]
    names = ("in_place", "kept", "superseded", "cancelled", "rolled_back", "open", "unseen")
    lines += [f"  {name.replace('_', ' '):<9} {report[name]:>9}" for name in names if report[name]]
    lines += [f"  {'parked':<9} {report['parked']:>9}"] if report["parked"] else []
    lines += [f"    {reason:<20} {n}" for reason, n in report["parked_reasons"].items()]
    without = _counted(report["not_kept_attributes"])
    lost = f"  {report['not_kept']} moved without something that they had: {without} (`rekey report` names them)"
    lines += [lost] if report["not_kept"] else []
    held = sum(report["kept_reasons"].get(reason, 0) for reason in RELEASABLE)
    lines += [f"  {held} old objects are held: `rekey release` lets them go"] if held else []
    return "\n".join(lines)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
