"""What a webhook is told: each thing once, in order, and nothing that is secret."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app import resources
from app.errors import UsageError
from app.events import Told, body, moving, next_event, signature
from app.settings import load
from tasks import webhook

REPORT: dict[str, Any] = {
    "run": "0123456789abcdef",
    "state": "running",
    "ended": False,
    "rows": 0,
    "open": 0,
    "step": None,
    "stall": None,
    "rests": None,
    "last_errors": [],
}


def told_of(reports: list[dict[str, Any]]) -> list[str]:
    """The marks of what is told, one tick after the other."""
    told, marks = Told(), []
    for changed in reports:
        report = REPORT | changed
        told = moving(Told.from_record(told.to_record()), report)
        while (event := next_event(told, report, every_percent=25, estimate=100)) is not None:
            marks.append(event.mark)
            told = event.told
    return marks


def test_run_is_told_from_its_start_to_its_end() -> None:
    """Shares that were passed at once as one, each standstill once, and again when it comes anew."""
    waits = {"state": "paused", "step": {"step": 1, "waits": True}}
    marks = told_of(
        [
            {},
            {"rows": 100, "open": 80},
            {"rows": 100, "open": 74},
            {"rows": 100, "open": 74} | waits,
            {"rows": 100, "open": 74} | waits,
            {"rows": 100, "open": 70},
            {"rows": 100, "open": 70, "state": "paused", "rests": "window"},
            {"rows": 100, "open": 70, "state": "paused"},
            {"rows": 100, "open": 60},
            {"rows": 100, "open": 60, "state": "paused"},
            {"rows": 100, "open": 20, "stall": "no such bucket", "last_errors": ["no such bucket"]},
            {"rows": 100, "open": 0, "state": "finished", "ended": True},
            {"rows": 100, "open": 0, "state": "finished", "ended": True},
        ]
    )

    assert marks == [
        "start", "threshold 25", "stall step 1", "stall window", "stall paused", "stall paused", "threshold 75", "stall errors", "end"
    ]  # fmt: skip


def test_body_has_figures_and_no_keys() -> None:
    """An event has the same id whenever it is sent; its signature is of all that is sent."""
    event = next_event(Told(), REPORT, every_percent=25, estimate=0)
    assert event is not None
    report = REPORT | {"last_errors": ["no object 'secret/key.png'"]}
    sent = body(event, report, at="2026-01-01T00:00:00+00:00")

    assert json.loads(sent)["id"] == "0123456789abcdef:start"
    assert b"secret/key.png" not in sent
    assert signature(sent, secret="s") != signature(sent + b" ", secret="s") != signature(sent, secret="t")


def test_address_and_secret_are_shown_nowhere() -> None:
    """Nor taken for what they cannot be."""
    settings = load({}, environ={"REKEY_WEBHOOK_URL": "https://hooks.example.com/T0/abcdef", "REKEY_WEBHOOK_SECRET": "s3cr3t"}, required=())

    assert {"https://hooks.example.com/T0/abcdef", "s3cr3t"} <= set(settings.secrets)
    assert "abcdef" not in f"{settings!r} {settings.public()}"
    with pytest.raises(UsageError, match="REKEY_WEBHOOK_URL"):
        load({}, environ={"REKEY_WEBHOOK_URL": "hooks.example.com"}, required=())


def test_nothing_is_asked_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick is not the dearer for it."""
    monkeypatch.setattr(resources, "settings", lambda: load({}, environ={}, required=()))
    monkeypatch.setattr(resources, "runs", lambda: pytest.fail("the ledger was asked"))
    webhook.tell()
