"""How each stage of a run stands, and which of them holds the others back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from app.database import MICROSECONDS
from app.ledger.counting import Count
from app.ledger.depths import Depth
from app.ledger.records import Run
from app.ledger.throttles import Acted, Throttle
from app.pipeline import MOVE_STAGES
from app.states import MoveState, RunState

FULL = 0.8  # of a rate that was set: a stage that does so much of it is held back by it
AT_RATE_SECONDS = 1.5  # since the last turn of a line: its chunks are taken up twice a second
STILL_SECONDS = 8.0  # in which no worker does anything: a task ends after five, and requests that go well take less
UNTAKEN_SECONDS = 30  # for which messages may lie on the broker while other stages get on
LEASE_SECONDS, SETTLE_SECONDS = 30, 60  # where the run's record has none


def stage_figures(
    counts: Sequence[Count],
    depths: Mapping[MoveState, Depth],
    *,
    knobs: Mapping[str, Any],
    now: int,
    throttle: Throttle = Throttle(),  # noqa: B008 - frozen
    acted: Acted = Acted(),  # noqa: B008 - frozen
    turns: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, dict[str, Any]]:
    """By stage: ``left`` (moves in its state), ``in_hand``, ``queued``, ``later`` (in their grace), ``oldest_seconds``, ``rate_bound``.

    ``at_rate``: it does as much as that bound allows. ``slowed_to`` and ``slowed_by``: the rate that was decided for it, and why.
    ``idle_seconds``: for how long nobody has taken up any of what is in hand or queued, None where nothing is. ``leases_end_seconds``,
    ``sent_again_seconds``: until what is in hand is free again, and what is queued is sent again, if nobody is alive that has it;
    ``resent``: queued moves that were sent again before.
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
            "idle_seconds": _idle(
                depth, now=now, acted_at=acted.of(stage.name), lease_seconds=int(knobs.get("lease_seconds", LEASE_SECONDS))
            ),
            "leases_end_seconds": _until(depth.leased_until, now),
            "sent_again_seconds": _until(depth.sent_again_at, now),
            "resent": depth.resent,
            "at_rate": turns.get(stage.name, 0) > now - AT_RATE_SECONDS * MICROSECONDS,
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
        if bound and stage["at_rate"] and stage["left"] > stage["later"] and per_second.get(name, bound) >= FULL * bound:
            return f"{name}_rate={bound}: `rekey set {name}_rate=0` lifts the bound"
    name = max(stages, key=lambda name: stages[name]["in_hand"] + stages[name]["queued"])
    stage = stages[name]
    idle = stage["idle_seconds"] or 0
    if stage["in_hand"]:
        helps = stage["queued"] and idle < STILL_SECONDS  # with nothing queued more workers would have nothing to take
        return f"{name}, {stage['in_hand']:,} in hand and {stage['queued']:,} queued: more {name} workers help" if helps else None
    return _still(name, stage) if idle >= UNTAKEN_SECONDS else None


def standstill(stages: Mapping[str, Mapping[str, Any]], *, now: int, acted: Acted, patience_seconds: float = 0.0) -> str | None:
    """For what a run waits in which nobody has taken up anything for some seconds, stage by stage; None while somebody does.

    *patience_seconds*: for which a worker may be at a single move, and keep its lease up.
    """
    waiting = {name: stage for name, stage in stages.items() if stage["idle_seconds"] is not None}
    still = max(STILL_SECONDS, patience_seconds)
    if not waiting or now - acted.last < still * MICROSECONDS:
        return None
    if any(stage["idle_seconds"] < still or (stage["rate_bound"] and stage["at_rate"]) for stage in waiting.values()):
        return None
    return "; ".join(_still(name, stage) for name, stage in waiting.items())


def _still(name: str, stage: Mapping[str, Any]) -> str:
    """For what the moves of a stage wait that nobody has taken up anything of for a while."""
    idle, queued = stage["idle_seconds"], f"{stage['queued']:,} queued"
    if stage["in_hand"]:
        held = f"{stage['in_hand']:,} in hand" + (f" and {queued}" if stage["queued"] else "")
        return (
            f"{name}, {held}, nothing done for {idle:.0f} s: the leases of a worker that died, or of requests without an answer, "
            f"end in about {stage['leases_end_seconds']} s"
        )
    if stage["resent"]:
        return f"{name}, {queued} and nobody takes them: is a worker on the queue {name!r}?"
    return (
        f"{name}, {queued} and none taken up for {idle:.0f} s: they are sent again in about {stage['sent_again_seconds']} s, "
        f"should a worker have died with them; is a worker on the queue {name!r}?"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Assets whose objects were not there: they are looked for again for *seconds* more. *alone*: nothing else is left to be done now."""

    assets: int
    seconds: int
    alone: bool
    last: bool  # nor later

    @property
    def words(self) -> str:
        """The run waits for that."""
        subject = "an asset's object is" if self.assets == 1 else f"{self.assets:,} assets' objects are"
        return f"{subject} missing: looked for again for about {self.seconds} s more (REKEY_SETTLE_SECONDS)"

    def eta(self, others: int | None) -> int | None:
        """Seconds until the run ends, if that of the *others* is so."""
        if self.last:
            return self.seconds
        return None if others is None else max(self.seconds, others)


def missing_of(run: Run, planned: Depth, report: Mapping[str, Any], *, now: int) -> Missing | None:
    """Those among the *planned* moves of *run*; None where there are none, or nobody looks for them now."""
    if planned.missed_at is None or run.state is not RunState.RUNNING:
        return None
    left = planned.missed_at + int(run.settings.get("settle_seconds", SETTLE_SECONDS)) - now // MICROSECONDS
    copied, switched = report["stages"]["rename"]["left"], report["stages"]["delete"]["left"]
    rest = not switched or (report["deletes_due_at"] or 0) > now  # looks in their grace are nothing that the run would wait for
    alone = run.seed_done and not planned.others and not copied and rest
    return Missing(assets=planned.missing, seconds=max(1, left), alone=alone, last=alone and not switched)


def _idle(depth: Depth, *, now: int, acted_at: int, lease_seconds: int) -> float | None:
    """Seconds since anybody did anything of what is in hand or queued, or took a lease of it, or kept one up."""
    if not depth.in_hand and not depth.queued:
        return None
    claimed_at = depth.leased_until - lease_seconds * MICROSECONDS if depth.leased_until is not None else 0
    return round(max(0, now - max(acted_at, claimed_at, 0 if depth.in_hand else depth.sent_at or 0)) / MICROSECONDS, 1)


def _until(at: int | None, now: int) -> int | None:
    return None if at is None else round(max(0, at - now) / MICROSECONDS)


def _slowed_by(report: Mapping[str, Any]) -> str | None:
    """Which stage the reconciler has slowed down, and why (app.throttling)."""
    for name, stage in report["stages"].items():
        slowed = stage["slowed_to"]
        if slowed and stage["left"] > stage["later"] and not (stage["rate_bound"] and stage["rate_bound"] < slowed):
            return f"{name}, slowed to {slowed:,} a second: {stage['slowed_by']}"
    held = report.get("seed_held_by")
    return f"seed, held: {held}" if held else None
