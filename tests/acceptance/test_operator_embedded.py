"""Each command of the operator on SQLite, SeaweedFS and the embedded broker: one table, from its plan to the run after its rollback."""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.deployment import Deployment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.acceptance.service import Asset, Service
    from tests.servers import RedisServer, S3Server

ASSETS = 200
COPY_RATE = 2  # a hundred seconds for all of them: however slowly commands are carried out, a run does not end before it is steered
LONG = 300.0  # for a command that waits until a run has ended
DONE, USAGE, FINDINGS = 0, 2, 3


@pytest.fixture
def embedded(seaweed: S3Server, redis_server: RedisServer, sqlite_url: str, tmp_path: Path) -> Iterator[Deployment]:
    """What ``rekey dev up`` gives, with a ledger and workers."""
    settings = {"HOME": str(tmp_path), "REKEY_COPY_CONCURRENCY": "4", "REKEY_RENAME_CONCURRENCY": "2", "REKEY_DELETE_CONCURRENCY": "2"}
    made = Deployment(database_url=sqlite_url, broker_url=redis_server.url, store=seaweed, folder=tmp_path, settings=settings)
    assert made.rekey("init").status == DONE
    with made.workers():
        yield made


@pytest.mark.timeout(900)
def test_run_on_the_embedded_stack_is_planned_steered_proved_and_taken_back(embedded: Deployment) -> None:
    """Each command finds what the one before it left, and the bucket is counted again by the service itself."""
    service, named = embedded.service()
    assets = service.fill(ASSETS)
    service.bucket.remove(assets[-1].old_key)
    kept = _cancelled_in_the_middle(embedded, service, assets, named)
    _held_retried_released(embedded, service, assets, named, kept=kept)
    _taken_back_and_moved_again(embedded, service, assets, named, kept=kept)


def _cancelled_in_the_middle(embedded: Deployment, service: Service, assets: list[Asset], named: Mapping[str, str]) -> set[str]:
    """A slow run is paused, set, resumed and cancelled; gives the old objects that it has left beside their copies."""
    started = embedded.rekey("enqueue", "--copy-rate", str(COPY_RATE), "--json", **named)
    moving = embedded.wait_for(lambda report: report["copied"] >= 3, **named)
    paused = embedded.rekey("pause", **named)
    resting = embedded.wait_for(lambda report: report["state"] == "paused", **named)
    turned = embedded.rekey("set", "copy_rate=1", "grace_seconds=1", "--json", **named)
    resumed = embedded.rekey("resume", **named)
    gone_on = embedded.wait_for(lambda report: report["copied"] >= resting["copied"] + 3 and report["deleted"], **named)
    cancelled = embedded.rekey("cancel", "--yes", "--json", **named)
    ended = embedded.rekey("status", "--watch", "--json", seconds=LONG, **named)
    again = embedded.rekey("cancel", "--yes", **named)

    assert started.status == DONE, started.err
    assert (paused.status, resumed.status, cancelled.status) == (DONE, DONE, DONE)
    assert moving["copied"] <= resting["copied"] < gone_on["copied"] < ASSETS
    assert (turned.report["set"]["copy_rate"], turned.report["set"]["grace_seconds"]) == (1, 1)
    report = ended.report
    assert (report["state"], report["ended"], report["open"]) == ("cancelled", True, 0)
    assert report["cancelled"] > 0, "it was over before the cancellation: nothing was ended"
    assert report["deleted"] + report["kept"] + report["cancelled"] + report["parked"] + report["unseen"] == ASSETS
    assert (again.status, "cancelled" in again.complaint) == (USAGE, True)
    rows, objects = service.table.keys(), service.bucket.keys()
    assert all(rows[asset.id] in objects for asset in assets[:-1])
    return {asset.old_key for asset in assets if asset.old_key in objects and rows[asset.id] == asset.new_key}


def _held_retried_released(
    embedded: Deployment, service: Service, assets: list[Asset], named: Mapping[str, str], *, kept: set[str]
) -> None:
    """The rest by a plan, its deletes held; the one that is missing is uploaded and sent on; then all that is held goes."""
    lost, rows = assets[-1], service.table.keys()
    left = {asset.old_key for asset in assets if rows[asset.id] == asset.old_key}
    plan = embedded.rekey("plan", "--json", **named)
    held = embedded.rekey("enqueue", "--plan", plan.report["plan"], "--watch", "--hold", "--json", seconds=LONG, **named)
    before = service.bucket.keys()
    service.bucket.put(lost.old_key, lost.content)
    retried = embedded.rekey("retry", "--reason", "missing_source", "--json", **named)
    whole = embedded.rekey("status", "--watch", "--json", seconds=LONG, **named)
    released = embedded.rekey("release", "--yes", "--json", **named)
    ended = embedded.rekey("status", "--watch", "--json", seconds=LONG, **named)
    sound = embedded.rekey("verify", "--run", "last", "--json", **named)
    listed = embedded.rekey("report", **named)

    problems = {problem["class"]: problem["rows"] for problem in plan.report["problems"]}
    assert (plan.status, plan.report["to_move"], problems["missing_source"]) == (FINDINGS, len(left) - 1, 1)
    assert problems["in_place"] == plan.report["in_place"] == ASSETS - len(left)
    assert (held.status, held.report["parked_reasons"]) == (FINDINGS, {"missing_source": 1})
    assert (held.report["kept_reasons"], held.report["in_place"]) == ({"held": len(left) - 1}, ASSETS - len(left))
    assert before >= left - {lost.old_key}
    assert (retried.report["moves"], whole.report["parked"]) == (1, 0)
    assert released.report["moves"] == whole.report["kept_reasons"]["held"] == ended.report["deleted"] == len(left)
    assert service.differences(assets, at_old_keys=kept) == []
    assert (sound.status, sound.report["recount"]["deleted"]) == (DONE, {"ledger": len(left), "agree": len(left)}), sound.out
    lines = list(csv.DictReader(io.StringIO(listed.out, newline=""), strict=True))
    assert Counter(line["outcome"] for line in lines) == Counter({"deleted": len(left), "in_place": ASSETS - len(left)})
    assert {line["old_key"] for line in lines if line["outcome"] == "deleted"} == left


def _taken_back_and_moved_again(
    embedded: Deployment, service: Service, assets: list[Asset], named: Mapping[str, str], *, kept: set[str]
) -> None:
    """The second run is rolled back, its assets are where it found them, and a third run moves them."""
    rows = service.table.keys()
    back = embedded.rekey("rollback", "--yes", "--watch", "--json", seconds=LONG, **named)
    named_now, objects = service.table.keys(), service.bucket.keys()
    refused = embedded.rekey("rollback", "--yes", **named)
    again = embedded.rekey("enqueue", "--watch", "--json", seconds=LONG, **named)

    returned = [asset for asset in assets if named_now[asset.id] == asset.old_key]
    assert back.status == DONE, back.err
    assert back.report["renamed"] == len(returned) > 0
    assert {asset.old_key for asset in returned} <= objects
    assert not {asset.new_key for asset in returned} & objects
    assert {number: key for number, key in named_now.items() if number not in {asset.id for asset in returned}} == {
        asset.id: rows[asset.id] for asset in assets if asset not in returned
    }
    assert (refused.status, "rolled back already" in refused.complaint) == (USAGE, True)
    assert (again.status, again.report["deleted"]) == (DONE, len(returned))
    assert service.differences(assets, at_old_keys=kept) == []
