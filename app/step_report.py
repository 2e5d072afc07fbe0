"""At which step a run is that comes to its rows in steps, and what it waits for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.ledger.ladders import Ladder


def step_figures(ladder: Ladder | None) -> dict[str, Any] | None:
    """step, of, rows (in words), planned, auto, waits, next (in words); None for a run over all rows at once."""
    if ladder is None:
        return None
    return {
        "step": ladder.step,
        "of": len(ladder.steps),
        "rows": str(ladder.here),
        "planned": ladder.planned,
        "auto": ladder.is_auto,
        "waits": ladder.waits,
        "next": None if ladder.next is None or ladder.is_over else str(ladder.next),
    }


def where(step: Mapping[str, Any]) -> str:
    """The step in words."""
    return f"step {step['step']} of {step['of']} ({step['rows']})"


def waiting(step: Mapping[str, Any], *, parked: int, failed: int) -> str:
    """Why a run rests after a step, and what lets it go on."""
    seen = [f"{parked} parked in all" if parked else "none parked", f"{failed} canary reads failed" if failed else "no canary read failed"]
    told = f"{where(step)} is over, {step['planned']} to be moved in it, {', '.join(seen)}"
    return f"{told}: `rekey resume` begins step {step['step'] + 1} ({step['next']})"
