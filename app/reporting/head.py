"""Who started a run, where, with which version and settings: the head of every report. No secrets."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from app.ledger.reading import ReportLedger
from app.ledger.records import Run
from app.redaction import redact
from app.reporting.times import from_micros


def head_of(run: Run, *, ledger: ReportLedger) -> dict[str, Any]:
    """What the run's record says of it."""
    head = {
        "run": run.id,
        "kind": str(run.kind),
        "rollback_of": None if run.origin_no is None else ledger.run_id(run.origin_no),
        "state": str(run.state),
        "bucket": run.bucket,
        "table": run.table_name,
        "started_by": run.created_by,
        "version": run.version,
        "started_at": from_micros(run.created_at),
        "ended_at": from_micros(run.finished_at),
        "plan": run.plan_id,
        "selection": dict(run.selection),
        "settings": dict(run.settings),
        "set_since": dict(run.knobs),
        "store": asdict(run.capabilities),
    }
    clean: dict[str, Any] = _without_secrets(head)
    return clean


def _without_secrets(value: Any) -> Any:  # noqa: ANN401 - anything that JSON can say
    """*value* with every text cleaned: a WHERE or an endpoint may hold what the settings could not know for a secret (S10)."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {name: _without_secrets(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(item) for item in value]
    return value


def in_one_line(value: object) -> str:
    """A setting's value as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
