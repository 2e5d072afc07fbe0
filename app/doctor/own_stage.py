"""Is the operator's own function there, as the workers of `own` would import it?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.doctor.findings import Finding, Findings
from app.errors import UsageError
from app.stages.own_stage import own_stage

if TYPE_CHECKING:
    from app.settings import Settings

_REMEDY = "correct it, or let PYTHONPATH lead to its module (docs/hooks.md); where the workers of `own` alone have that, ask beside them"


def check_own_stage(settings: Settings) -> list[Finding]:
    """Import the function that REKEY_AFTER_SWITCH names, and do not call it; nothing is said where there is none."""
    found = Findings("own stage")
    if settings.after_switch is None:
        return found
    here = str(Path.cwd())
    sys.path.insert(0, here)  # `python -m workers` looks there first
    try:
        own_stage(settings.after_switch)
    except UsageError as error:
        found.problem(f"{error}: no asset would be shown to it", remedy=_REMEDY)
    else:
        found.ok(f"REKEY_AFTER_SWITCH={settings.after_switch} is there")
    finally:
        sys.path.remove(here)
    return found
