"""What a run's webhook is told, and when: its start, each share of its rows, that it stands still, its end. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

TRIES = 5  # ticks, of an event that nobody takes; then it is given up
FIGURES = (
    "run",
    "kind",
    "state",
    "rows",
    "copied",
    "renamed",
    "deleted",
    "open",
    "in_place",
    "kept",
    "parked",
    "parked_reasons",
    "unseen",
    "canary_reads",
    "canary_failed",
    "step",
    "stall",
    "held_back_by",
    "seconds",
    "per_second",
    "eta_seconds",
)
SIGNATURE = "x-rekey-signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was told of a run: *events* by name; *stands*: that it stands still; *tried*: how often the next event was."""

    events: tuple[str, ...] = ()
    stands: str | None = None
    tried: int = 0

    @classmethod
    def from_record(cls, text: str | None) -> Told:
        """From what the ledger has."""
        values = json.loads(text or "{}")
        return cls(**values | {"events": tuple(values.get("events", ()))})

    def to_record(self) -> str:
        """As the ledger keeps it."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something to be told once: ``start``, ``threshold``, ``stall`` or ``end``; *mark* tells it from others of its name."""

    name: str
    mark: str
    told: Told = field(default_factory=Told)  # once it is


def next_event(told: Told, report: Mapping[str, Any], *, every_percent: int, estimate: int) -> Event | None:
    """What is to be told next of a run that stands as *report* says; the end comes last, and shares that were passed at once as one."""
    if "start" not in told.events:
        return Event(name="start", mark="start", told=_with(told, "start"))
    share = _share(report, every_percent=every_percent, estimate=estimate)
    if share and f"threshold {share}" not in told.events and not report["ended"]:
        return Event(name="threshold", mark=f"threshold {share}", told=_with(told, f"threshold {share}"))
    stands = _stands(report)
    if stands is not None and stands != told.stands:
        return Event(name="stall", mark=f"stall {stands}", told=replace(told, stands=stands, tried=0))
    if report["ended"] and "end" not in told.events:
        return Event(name="end", mark="end", told=_with(told, "end"))
    return None


def moving(told: Told, report: Mapping[str, Any]) -> Told:
    """*told*, so that a later standstill is told too."""
    return replace(told, stands=None) if told.stands is not None and _stands(report) is None else told


def body(event: Event, report: Mapping[str, Any], *, at: str) -> bytes:
    """What is sent: JSON, no keys of objects and no secrets."""
    figures = {name: report.get(name) for name in FIGURES} | {"stall": report["stall_kind"]}  # the status's own may name keys and rows
    return json.dumps(
        {"event": event.name, "id": f"{report['run']}:{event.mark}", "at": at, **figures}, sort_keys=True, default=str
    ).encode()


def signature(content: bytes, *, secret: str) -> str:
    """By which the receiver sees that it is ours and whole: HMAC-SHA-256 of the body."""
    return "sha256=" + hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


def _with(told: Told, event: str) -> Told:
    return replace(told, events=(*told.events, event), tried=0)


def _share(report: Mapping[str, Any], *, every_percent: int, estimate: int) -> int:
    """How many per cent of the rows have ended, down to a whole multiple of *every_percent*; 0: less than that, or none are asked for."""
    rows = max(report["rows"], estimate)
    if not every_percent or not rows:
        return 0
    done = 100 * (report["rows"] - report["open"]) // rows
    return int(done // every_percent * every_percent)


def _stands(report: Mapping[str, Any]) -> str | None:
    """Why the run stands still, in a word that stays the same as long as it does."""
    if report["ended"]:
        return None
    if report["state"] == "paused":
        step: Mapping[str, Any] | None = report["step"]
        waits = f"step {step['step']}" if step is not None and step["waits"] else None
        return str(report["rests"] or waits or ("canary" if "canary" in (report["stall"] or "") else "paused"))
    if report["at_rest"]:
        return "waits"
    errors: Sequence[str] = report["last_errors"]
    return "errors" if errors and report["stall"] == errors[0] else None
