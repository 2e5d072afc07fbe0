"""What a webhook is told: each thing once, in order, and nothing that is secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from app import resources
from app.database import transaction
from app.errors import StoreRequestError, UsageError
from app.events import Event, Told, body, moving, next_event, signature
from app.ledger.canaries import Canaries
from app.ledger.visits import add_visits
from app.settings import load
from app.states import RunState
from app.testing import Fault
from tasks import webhook
from tests.builders import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REPORT: dict[str, Any] = {
    "run": "0123456789abcdef",
    "state": "running",
    "ended": False,
    "rows": 0,
    "open": 0,
    "step": None,
    "stall": None,
    "stall_kind": None,
    "rests": None,
    "at_rest": False,
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
            {"rows": 100, "open": 20, "stall": "the store is away", "at_rest": True},
            {"rows": 100, "open": 0, "state": "finished", "ended": True},
            {"rows": 100, "open": 0, "state": "finished", "ended": True},
        ]
    )

    assert marks == [
        "start", "threshold 25", "stall step 1", "stall window", "stall paused", "stall paused", "threshold 75", "stall errors",
        "stall waits", "end",
    ]  # fmt: skip


def test_body_has_figures_and_no_keys() -> None:
    """An event has the same id whenever it is sent; its signature is of all that is sent."""
    event = next_event(Told(), REPORT, every_percent=25, estimate=0)
    assert event is not None
    error = "no object 'secret/key.png'"
    report = REPORT | {"last_errors": [error], "stall": error, "stall_kind": "errors"}
    sent = body(event, report, at="2026-01-01T00:00:00+00:00")

    assert json.loads(sent)["id"] == "0123456789abcdef:start"
    assert json.loads(sent)["stall"] == "errors"
    assert b"secret/key.png" not in sent
    assert signature(sent, secret="s") != signature(sent + b" ", secret="s") != signature(sent, secret="t")


def _errors(world: World) -> None:
    for on in ("copy", "put"):
        world.store.faults.add(Fault.refuse(StoreRequestError), on=on, times=None)
    world.moved(up_to="copy")
    world.tick()


def _store_away(world: World) -> None:
    for on in ("copy", "put"):
        world.store.faults.add(Fault.lose_reply(), on=on)
    world.moved(up_to="copy")


def _canary_missing(world: World) -> None:
    world.moved()
    world.context.canaries.note(world.run, lambda _: Canaries(reads=1, missing={"[7]": (1, 2, 3)}))


def _canary_failed(world: World) -> None:
    world.moved()
    failed = Canaries(reads=1, failed=1, last_failure="row [7]: no object 'up/secret.png'", stopped=True)
    world.context.canaries.note(world.run, lambda _: failed)
    world.context.runs.set_state(world.run, RunState.PAUSED, only_from=RunState.RUNNING)
    world.tick()


def _own_stage(world: World) -> None:
    world.moved()
    world.sql("UPDATE rekey_runs SET settings = :settings", settings=json.dumps({"after_switch": "shop.cdn:purge"}))
    with transaction(world.engine) as connection:
        add_visits(connection, world.run, [1])
    world.context.visits.failed(world.run, [1], detail="KeyError: 'up/secret.png' of row [7]", wait_seconds=60, most=9)


@pytest.mark.parametrize(
    ("befall", "shown", "told"),
    [
        (_errors, "secret.png", "its assets have errors"),
        (_store_away, "secret.png", "the object store does not answer; a copy worker has seen that 0 s ago"),
        (_canary_missing, "row [7]", "a canary read did not get its object"),
        (_canary_failed, "up/secret.png", "paused, since a canary read failed"),
        (_own_stage, "up/secret.png", "your own stage shop.cdn:purge fails on 1 assets"),
    ],
)
def test_standstill_is_told_without_the_keys_and_rows_that_the_status_shows(
    tmp_path: Path, befall: Callable[[World], None], shown: str, told: str
) -> None:
    """Whatever the status says of it: what kind of standstill it is, and where to look."""
    world = World(tmp_path)
    world.add(7, "up/secret.png")
    befall(world)
    report = world.report()
    sent = json.loads(body(Event(name="stall", mark="stall errors"), report, at="2026-01-01T00:00:00+00:00"))

    assert shown in report["stall"]
    assert sent["stall"].startswith(told)
    assert not [word for word in ("secret", "[7]") if word in json.dumps(sent)]


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
