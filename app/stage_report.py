"""How each stage of a run stands, and which of them holds the others back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.database import MICROSECONDS
from app.ledger.counting import Count
from app.ledger.depths import Depth
from app.ledger.throttles import Throttle
from app.pipeline import MOVE_STAGES
from app.states import MoveState

FULL = 0.8  # of a rate that was set: a stage that does so much of it is held back by it
UNTAKEN_SECONDS = 30  # for which a message may lie on the broker before it is asked whether anybody takes them


def stage_figures(
    counts: Sequence[Count],
    depths: Mapping[MoveState, Depth],
    *,
    knobs: Mapping[str, Any],
    now: int,
    throttle: Throttle = Throttle(),  # noqa: B008 - frozen
) -> dict[str, dict[str, Any]]:
    """By stage: ``left`` (moves in its state), ``in_hand``, ``queued``, ``later`` (in their grace), ``oldest_seconds``, ``rate_bound``.

    ``slowed_to`` and ``slowed_by``: the rate that was decided for it, and why.
    """
    left = {stage.state: sum(count.moves for count in counts if count.state is stage.state) for stage in MOVE_STAGES}
    figures = {}
    for stage in MOVE_STAGES:
        depth = depths[stage.state]
        figures[stage.name] = {
            "left": left[stage.state],
            "in_hand": depth.in_hand,
            "queued": depth.queued,
            "later": max(0, left[stage.state] - depth.active) if stage.state is MoveState.RENAMED else 0,
            "rate_bound": knobs.get(f"{stage.name}_rate") or None,
            "slowed_to": throttle.rates.get(stage.name),
            "slowed_by": throttle.causes.get(stage.name),
            "oldest_seconds": None if depth.oldest_at is None else round(max(0, now - depth.oldest_at) / MICROSECONDS, 1),
        }
    return figures


def held_back_by(report: Mapping[str, Any], *, per_second: Mapping[str, float]) -> str | None:
    """What the run waits for most, and which knob helps; None where it waits for nothing, or as a whole for what its standstill says.

    *per_second*: what stages do now, where known.
    """
    stages: Mapping[str, Mapping[str, Any]] = report["stages"]
    if report["ended"] or not report["open"] or report["at_rest"]:
        return None
    decided = _slowed_by(report)
    if decided is not None:
        return decided
    for name, stage in stages.items():
        bound = stage["rate_bound"]
        if bound and stage["left"] > stage["later"] and per_second.get(name, bound) >= FULL * bound:
            return f"{name}_rate={bound}: `rekey set {name}_rate=0` lifts the bound"
    name = max(stages, key=lambda name: stages[name]["in_hand"] + stages[name]["queued"])
    stage = stages[name]
    if stage["in_hand"]:
        return f"{name}, {stage['in_hand']:,} in hand and {stage['queued']:,} queued: more {name} workers help"
    untaken = stage["queued"] and (stage["oldest_seconds"] or 0) > UNTAKEN_SECONDS
    return f"{name}, {stage['queued']:,} queued and nobody takes them: is a worker on the queue {name!r}?" if untaken else None


def _slowed_by(report: Mapping[str, Any]) -> str | None:
    """Which stage the reconciler has slowed down, and why (app.throttling)."""
    for name, stage in report["stages"].items():
        slowed = stage["slowed_to"]
        if slowed and stage["left"] > stage["later"] and not (stage["rate_bound"] and stage["rate_bound"] < slowed):
            return f"{name}, slowed to {slowed:,} a second: {stage['slowed_by']}"
    held = report.get("seed_held_by")
    return f"seed, held: {held}" if held else None
