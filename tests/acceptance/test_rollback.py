"""``rekey rollback`` as an operator types it: after deletion, while old objects are held, in part, and of a paused run."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.deployment import Deployment
    from tests.acceptance.service import Asset, Service


def _back(service: Service, assets: list[Asset]) -> list[str]:
    """Where table and bucket are not as they were before any run."""
    return service.differences([replace(asset, new_key=asset.old_key) for asset in assets])


@pytest.mark.timeout(400)
def test_run_goes_back_after_its_deletes_and_forward_again(working: Deployment) -> None:
    """Every byte and header is at the old key again; a second rollback is refused; a new run moves all."""
    service, named = working.service()
    assets = service.fill(60)
    forward = working.rekey("enqueue", "--watch", "--json", seconds=200, **named)
    plan = working.rekey("rollback", "--dry-run", "--json", **named)
    unasked = working.rekey("rollback", **named)
    back = working.rekey("rollback", "--yes", "--watch", "--json", seconds=200, **named)
    after = _back(service, assets)
    origin = working.rekey("status", "--json", "--run", forward.report["run"], **named)
    again = working.rekey("rollback", "--yes", **named)
    second = working.rekey("enqueue", "--watch", "--json", seconds=200, **named)

    assert forward.status == 0, forward.err
    assert (plan.status, plan.report["by_copy"], plan.report["by_switch"]) == (0, 60, 0)
    assert "cannot be undone" in plan.err
    assert unasked.status == 2
    assert "--yes" in unasked.err
    assert back.status == 0, back.err
    assert (back.report["kind"], back.report["renamed"], back.report["state"]) == ("rollback", 60, "finished")
    assert after == []
    assert (origin.report["rolled_back"], origin.report["deleted"]) == (60, 0)
    assert (again.status, "rolled back already" in again.complaint) == (2, True)
    assert (second.status, second.report["deleted"]) == (0, 60)
    assert service.differences(assets) == []


@pytest.mark.timeout(400)
def test_held_objects_of_one_client_go_back_without_being_written(working: Deployment) -> None:
    """By compare-and-swap alone: the old objects keep their times; other clients' assets stay moved."""
    service, named = working.service()
    assets = service.fill(40)
    working.rekey("enqueue", "--watch", "--hold", "--json", seconds=200, **named)
    before = service.bucket.versions()
    client = assets[0].client
    back = working.rekey("rollback", "--client", str(client), "--yes", "--watch", "--json", seconds=200, **named)
    mine = [asset for asset in assets if asset.client == client]
    rows, objects = service.table.keys(), service.bucket.versions()

    assert back.status == 0, back.err
    assert back.report["renamed"] == len(mine) < len(assets)
    assert {asset.id: asset.old_key if asset in mine else asset.new_key for asset in assets} == rows
    assert {key: objects.get(key) for key in before if not key.startswith(f"clients/{client}/")} == {
        key: version for key, version in before.items() if not key.startswith(f"clients/{client}/")
    }
    assert not any(asset.new_key in objects for asset in mine)


@pytest.mark.timeout(400)
def test_paused_run_is_cancelled_and_taken_back(working: Deployment) -> None:
    """In the middle of a run: what was switched goes back, what was not stays."""
    service, named = working.service()
    assets = service.fill(300)
    working.rekey("enqueue", "--json", REKEY_COPY_RATE="8", REKEY_COPY_CONCURRENCY="4", **named)
    working.wait_for(lambda report: report["deleted"] >= 20, **named)
    running = working.rekey("rollback", "--yes", **named)
    paused = working.rekey("pause", **named)
    back = working.rekey("rollback", "--yes", "--watch", "--json", seconds=300, **named)

    assert (running.status, "pause or cancel it first" in running.complaint) == (2, True)
    assert paused.status == 0
    assert back.status == 0, back.err
    assert 20 <= back.report["renamed"] < 300, "it was over before the pause: nothing was cancelled"
    assert _back(service, assets) == []


@pytest.mark.timeout(400)
def test_rollback_of_chosen_rows_is_a_run_like_any_other(working: Deployment) -> None:
    """It says what it will do, is paused, set and resumed, and has a report of its own; rows that are not meant stay moved."""
    service, named = working.service()
    assets = service.fill(60)
    working.rekey("enqueue", "--watch", "--json", seconds=200, **named)
    wrong = working.rekey("rollback", "--only-where", "no_such_column = 1", "--yes", **named)
    chosen = ("--only-where", "id BETWEEN 21 AND 60")
    plan = working.rekey("rollback", *chosen, "--dry-run", "--json", **named)
    begun = working.rekey("rollback", *chosen, "--yes", "--copy-rate", "1", "--json", **named)
    working.wait_for(lambda report: report["copied"] >= 2, **named)
    paused = working.rekey("pause", **named)
    resting = working.status(**named)
    turned = working.rekey("set", "copy_rate=0", **named)
    resumed = working.rekey("resume", **named)
    ended = working.rekey("status", "--watch", "--json", seconds=200, **named)
    listed = working.rekey("report", **named)

    assert (wrong.status, "--only-where" in wrong.complaint) == (2, True)
    assert (plan.status, plan.report["by_copy"]) == (0, 40)
    assert begun.status == 0, begun.err
    assert (paused.status, turned.status, resumed.status) == (0, 0, 0)
    assert (resting["state"], resting["kind"], resting["copied"] < 40) == ("paused", "rollback", True)
    assert (ended.report["state"], ended.report["renamed"], ended.report["deleted"]) == ("finished", 40, 40)
    lines = list(csv.DictReader(io.StringIO(listed.out, newline=""), strict=True))
    assert {int(line["row_id"]): (line["old_key"], line["new_key"]) for line in lines} == {
        asset.id: (asset.new_key, asset.old_key) for asset in assets[20:]
    }
    assert service.differences([*assets[:20], *(replace(asset, new_key=asset.old_key) for asset in assets[20:])]) == []
