"""What Prometheus is told: the figures of the ledger, names by its conventions, few series however many assets there are."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from app import cli, resources
from app.gauge import BOUNDS
from app.gauge import Reading as Answers
from app.ledger.throttles import RECONCILER, Tallied, Throttle
from app.metrics import collecting
from app.metrics.collecting import RunCollector
from app.metrics.families import Broker, Reading, families
from app.report import snapshot
from app.settings import Settings
from app.stages.tally import Tally
from tests.builders import World

DOCS = Path(__file__).parents[2] / "docs" / "metrics"
BROKER = Broker(
    waiting={"seed": 0, "copy": 3, "rename": 0, "delete": 0},
    in_hand=2,
    memory=1_000_000,
    memory_limit=0,
    evicted=0,
    heartbeats={"copy": 4.5},
)
OWN = re.compile(r"\brekey_\w+")


def read(world: World, **more: object) -> Reading:
    """A reading of a world's run."""
    report = snapshot(world.run, runs=world.context.runs, queues=world.context.queues)
    known: dict[str, object] = {"database": True, "report": report, "tick_age": 2.5, "broker": BROKER, "workers": {"copy": 2}}
    return Reading(**(known | {"tallied": world.context.throttles.tallied(world.run)} | more))  # type: ignore[arg-type]


def told(seen: Reading) -> dict[tuple[str, ...], float]:
    """Each sample as Prometheus parses it, by its name and the values of its labels."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(RunCollector(lambda: seen))
    parsed = text_string_to_metric_families(generate_latest(registry).decode())
    samples = [sample for family in parsed for sample in family.samples]
    return {(each.name, *(each.labels[label] for label in sorted(each.labels, reverse=True))): each.value for each in samples}


def moved(folder: Path, *, rows: int = 12) -> World:
    """A world whose moves are switched, but one that is parked."""
    folder.mkdir(exist_ok=True)
    world = World(folder)
    world.context = dataclasses.replace(world.context, tally=Tally(seconds=0.0))
    for number in range(1, rows + 1):
        world.add(number)
    world.store.app_delete(world.key(rows))
    world.moved()
    for _ in range(5):  # what is missing is looked for again before it is parked
        world.later(60)
        world.do("copy")
    return world


def test_moves_outcomes_and_reasons_are_those_of_the_ledger(tmp_path: Path) -> None:
    """By state and reason, and what each stage has done."""
    samples = told(read(moved(tmp_path)))

    assert (samples["rekey_moves", "renamed"], samples["rekey_moves", "parked"], samples["rekey_moves", "deleted"]) == (11, 1, 0)
    assert samples["rekey_moves_parked", "missing_source"] == 1
    assert (samples["rekey_stage_outcomes_total", "copy"], samples["rekey_stage_failures_total", "copy"]) == (12, 1)
    assert (samples["rekey_run_state", "running"], samples["rekey_run_state", "finished"]) == (1, 0)
    assert (samples["rekey_reconciler_tick_age_seconds",], samples["rekey_workers", "copy"]) == (2.5, 2)
    assert [each for each in samples.items() if each[0][0] == "rekey_worker_heartbeat_age_seconds"] == [
        (("rekey_worker_heartbeat_age_seconds", "copy"), 4.5)
    ]
    assert (samples["rekey_broker_messages", "copy"], samples["rekey_broker_up",], samples["rekey_database_up",]) == (3, 1, 1)


def test_latencies_are_a_histogram_and_a_slowed_stage_names_its_knob(tmp_path: Path) -> None:
    """Groups that add up to all requests, their time in seconds; what the reconciler has sent and found."""
    world = moved(tmp_path)
    world.context.throttles.decide(
        world.run, Throttle(rates={"copy": 40}, causes={"copy": "it takes 900 ms: `rekey set store_latency_ms=N` allows for more than 500"})
    )
    groups = (0, 0, 3, 1, *(0,) * (len(BOUNDS) - 4), 1)
    tallied = {"copy": Tallied(outcomes=5, store=Answers(5, 2, 12_500_000, groups)), RECONCILER: Tallied(outcomes=7, failed=2)}
    samples = told(read(world, tallied=tallied))
    name = "rekey_store_request_seconds"

    assert [samples[f"{name}_bucket", "copy", bound] for bound in ("0.005", "0.01", "0.025", "10.0", "+Inf")] == [0, 3, 4, 4, 5]
    assert (samples[f"{name}_count", "copy"], samples[f"{name}_sum", "copy"]) == (5, 12.5)
    assert samples["rekey_store_slow_downs_total", "copy"] == 2
    assert (samples["rekey_stage_slowed", "copy", "store_latency_ms"], samples["rekey_stage_slowed_to", "copy"]) == (1, 40)
    assert (samples["rekey_reconciler_moves_sent_total",], samples["rekey_reconciler_leases_lost_total",]) == (7, 2)


def test_series_do_not_grow_with_the_assets_nor_with_the_workers(tmp_path: Path) -> None:
    """No label holds an id, a client, a key or a worker's name."""
    small, large = (told(read(moved(tmp_path / str(rows), rows=rows))) for rows in (3, 60))

    assert set(small) == {key for key in large if key[0] != "rekey_run_info"} | {key for key in small if key[0] == "rekey_run_info"}
    assert len(small) < 200


@pytest.mark.parametrize("silent", ["broker", "workers", "report"])
def test_what_does_not_answer_is_left_out_and_the_rest_is_told(silent: str, tmp_path: Path) -> None:
    """A scrape in an outage says which part is away."""
    samples = told(read(moved(tmp_path), **{silent: None}))

    assert samples["rekey_broker_up",] == (silent != "broker")
    assert (("rekey_moves", "renamed") in samples) == (silent != "report")
    assert (("rekey_workers", "copy") in samples) == (silent != "workers")


def test_ledger_that_is_away_is_told() -> None:
    """With the broker's figures."""
    samples = told(Reading(database=False, broker=BROKER, workers={"copy": 1}))

    assert (samples["rekey_database_up",], samples["rekey_broker_messages", "copy"]) == (0, 3)


def test_command_that_starts_while_all_is_away_tells_that(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An exporter that is restarted in an outage must not be missing in it."""
    monkeypatch.setenv("REKEY_DATABASE_URL", "postgresql://app@127.0.0.1:1/app")
    monkeypatch.setenv("REKEY_BROKER_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(resources, "_settings", None)

    assert cli.main(["metrics", "--once", "--s3-bucket", "assets", "--table", "assets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"rekey_database_up 0.0", "rekey_broker_up 0.0"} <= set(lines)


def test_several_scrapes_at_once_cost_one_reading() -> None:
    """Of some seconds."""
    readings = []

    def reading() -> Reading:
        readings.append(1)
        return Reading(database=True)

    collector = RunCollector(reading)
    assert [len(list(collector.collect())) for _ in range(3)] == [len(list(families(Reading(database=True))))] * 3
    assert len(readings) == 1


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """All names that there are."""
    world = moved(tmp_path_factory.mktemp("world"))
    world.context.throttles.decide(world.run, Throttle(rates={"copy": 40}, causes={"copy": "`rekey set adapt=false` takes no notice"}))
    tallied = {"copy": Tallied(outcomes=5, store=Answers(5, 2, 12_500_000))}
    return {name for name, *_ in told(read(world, tallied=tallied))}


def test_every_alert_asks_for_what_there_is(names: set[str]) -> None:
    """Each with a severity, and with words that say what to do."""
    rules = [rule for group in yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"] for rule in group["rules"]]

    assert {rule["alert"] for rule in rules} >= {
        "RekeyStalled",
        "RekeyReadsFail",
        "RekeyParks",
        "RekeyWorkerGone",
        "RekeyWorkerSilent",
        "RekeyBrokerEvicts",
    }
    for rule in rules:
        asked = set(OWN.findall(rule["expr"]))
        assert asked, rule
        assert asked <= names, f"{rule['alert']}: {asked - names}"
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert "rekey" in rule["annotations"]["description"]


def test_every_panel_asks_for_what_there_is(names: set[str]) -> None:
    """And no two lie one over the other."""
    dashboard = json.loads((DOCS / "dashboard.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            asked = set(OWN.findall(target["expr"]))
            assert asked, panel["title"]
            assert asked <= names, f"{panel['title']}: {asked - names}"
        at = panel["gridPos"]
        place = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not place & taken, panel["title"]
        taken |= place
    assert max(x for x, _ in taken) < 24


def test_workers_are_not_asked_for_where_the_broker_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That would take longer than Prometheus waits, and the broker's own series would never be seen."""
    world = moved(tmp_path)
    monkeypatch.setattr(collecting, "_read_ledger", lambda _settings: (Reading(database=True), world.run))
    monkeypatch.setattr(collecting, "_consumers", lambda _queues: pytest.fail("asked for workers"))
    found = collecting.read(Settings(broker_url=SecretStr("redis://127.0.0.1:1/0")))

    assert (found.broker, found.workers) == (None, None)
