"""A migration from one bucket into another as an operator types it: each command that knows a bucket, there and back."""

from __future__ import annotations

import csv
import io
import secrets
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.service import Asset, Bucket, Content

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.acceptance.deployment import Deployment
    from tests.acceptance.service import Service

ASSETS = 40
HOST = "https://new.example/"


def _where(service: Service, target: Bucket, assets: list[Asset]) -> dict[str, int]:
    """How many assets lie, with the right content, where their row's key says, by bucket."""
    rows = service.table.keys()
    found = {"source": 0, "target": 0}
    for asset in assets:
        moved = rows[asset.id] == asset.new_key
        assert rows[asset.id] in {asset.old_key, asset.new_key}
        assert (target if moved else service.bucket).get(rows[asset.id]) == asset.content
        found["target" if moved else "source"] += 1
    assert service.bucket.keys() == {asset.old_key for asset in assets if rows[asset.id] == asset.old_key}
    assert target.keys() == {asset.new_key for asset in assets if rows[asset.id] == asset.new_key}
    return found


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture
def split(deployment: Deployment) -> tuple[Service, Bucket, Mapping[str, str]]:
    """A table, its bucket, the bucket to be, and the settings that name all three."""
    service, named = deployment.service()
    target = Bucket(deployment.store, f"new-{secrets.token_hex(4)}")
    target.make()
    return service, target, {**named, "REKEY_TARGET_BUCKET": target.name}


@pytest.mark.timeout(500)
def test_migration_into_another_bucket_and_back(deployment: Deployment, split: tuple[Service, Bucket, Mapping[str, str]]) -> None:
    """Doctor, plan, run, status, report, redirects, verification, rollback: each with the same settings, and none asks for a direction."""
    service, target, named = split
    assets = service.fill(ASSETS)
    with deployment.workers(**named):
        doctor = deployment.rekey("doctor", "--json", **named)
        plan = deployment.rekey("plan", "--json", **named)
        moved = deployment.rekey("enqueue", "--plan", plan.report["plan"], "--watch", "--json", seconds=200, **named)
        there = _where(service, target, assets)
        status = deployment.status(**named)
        lines = deployment.rekey("report", **named)
        links = deployment.rekey("report", "--redirects", "csv", "--prefix", "/media/", "--target-prefix", HOST, **named)
        target.put("lost/and/found.png", Content(body=b"stranger's", content_type="image/png"))
        astray = deployment.rekey("verify", "--run", "last", "--headers", "--json", **named)
        target.remove("lost/and/found.png")
        forgotten = deployment.rekey("rollback", "--run", moved.report["run"], "--yes", **{**named, "REKEY_TARGET_BUCKET": ""})
        back = deployment.rekey("rollback", "--run", moved.report["run"], "--yes", "--watch", "--json", seconds=200, **named)
        home = _where(service, target, assets)
        well = deployment.rekey("verify", "--json", **named)

    assert [finding for finding in doctor.report["findings"] if finding["level"] == "problem" and finding["part"] == "object store"] == []
    assert all(
        any(f"{name!r} answers" in each["text"] for each in doctor.report["findings"]) for name in (service.bucket.name, target.name)
    )
    assert (plan.report["to_move"], plan.report["would_park"]) == (ASSETS, 0)
    assert (moved.status, moved.report["deleted"]) == (0, ASSETS), moved.err
    assert (there, status["deleted"]) == ({"source": 0, "target": ASSETS}, ASSETS)
    assert {row["outcome"] for row in _rows(lines.out)} == {"deleted"}
    assert {row["old"]: row["new"] for row in _rows(links.out)} == {f"/media/{one.old_key}": f"{HOST}{one.new_key}" for one in assets}
    assert (astray.status, astray.report["recount"]) == (3, {"deleted": {"ledger": ASSETS, "agree": ASSETS}}), astray.out
    assert (astray.report["faults"], astray.report["examples"]["misplaced"][0]["key"]) == ({"misplaced": 1}, "lost/and/found.png")
    assert (forgotten.status, target.name in forgotten.complaint) == (2, True)
    assert (back.status, back.report["renamed"]) == (0, ASSETS), back.err
    assert home == {"source": ASSETS, "target": 0}
    assert (well.status, well.report["faults"]) == (0, {}), well.out
    target.close()
