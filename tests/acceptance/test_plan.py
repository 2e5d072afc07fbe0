"""``rekey plan`` and ``enqueue --plan`` as an operator types them, on PostgreSQL, MinIO and Redis."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.service import Bucket, Content, make_asset

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.acceptance.deployment import Ended
    from tests.acceptance.service import Service
    from tests.servers import S3Server

DONE, USAGE, FINDINGS = 0, 2, 3
ASSETS = 400
PLAIN = Content(body=b"something else", content_type="text/plain")

Table = tuple["Service", "Mapping[str, str]"]
Planned = tuple["Service", "Mapping[str, str]", str]


@pytest.fixture
def table(deployment: Deployment) -> Table:
    """A table and a bucket with assets, all as it should be."""
    service, named = deployment.service()
    service.fill(ASSETS)
    return service, named


def state(deployment: Deployment, service: Service) -> tuple[object, ...]:
    """All that a plan and a refusal must leave as it is."""
    runs = service.table.run("SELECT COUNT(*) FROM rekey_runs WHERE table_name = :name", name=service.table.name)
    return service.table.keys(), service.bucket.versions(), runs


def plans(service: Service) -> int:
    """How many plans the ledger has on this table."""
    return int(service.table.run("SELECT COUNT(*) FROM rekey_plans WHERE table_name = :name", name=service.table.name)[0][0])


def classes(report: Mapping[str, Any]) -> dict[str, int]:
    """Rows by class."""
    return {problem["class"]: problem["rows"] for problem in report["problems"]}


def refused(ended: Ended, *words: str) -> None:
    """See that a command was refused in one line with these words."""
    assert (ended.status, ended.out) == (USAGE, ""), ended.err
    assert [word for word in words if word not in ended.complaint] == [], ended.complaint


def test_plan_of_a_clean_table_counts_saves_and_changes_nothing(table: Table, deployment: Deployment) -> None:
    """Exit status 0, one JSON object with the figures, and nothing but the plan is new."""
    service, named = table
    before = state(deployment, service)

    ended = deployment.rekey("plan", "--json", "--price-per-1000", "put=5,get=0.4", **named)

    assert ended.status == DONE, ended.err
    report = ended.report
    sizes = sum(len(make_asset(number).content.body) for number in range(1, ASSETS + 1))
    assert {name: report[name] for name in ("rows", "to_move", "in_place", "would_park", "bytes", "objects_without_row")} == {
        "rows": ASSETS,
        "to_move": ASSETS,
        "in_place": 0,
        "would_park": 0,
        "bytes": sizes,
        "objects_without_row": 0,
    }
    assert report["problems"] == []
    puts = ASSETS + ASSETS // 200  # and the journal's, one for each batch of deletes
    assert (report["requests"]["PUT"], report["cost"]["by_class"]["PUT"]) == (puts, puts * 5 / 1000)
    assert report["time"]["measured"] is False
    assert report["looked"]["listings"] == 1
    assert state(deployment, service) == before
    assert plans(service) == 1
    shown = deployment.rekey("plan", "--show", report["plan"][:8], "--json", **named)
    assert shown.report == report


@pytest.mark.timeout(200)
def test_plan_of_a_bucket_with_locks_says_what_is_locked_and_what_objects_have(deployment: Deployment) -> None:
    """Looked at one by one with --thorough. What the doctor has tried by then is known to the plan after it."""
    service, named = deployment.service()
    bucket = Bucket(deployment.store, f"{service.bucket.name}-locks")
    bucket.make(locks=True)
    named = {**named, "REKEY_S3_BUCKET": bucket.name}
    for number in range(1, 7):
        bucket.put(f"file-{number}.bin", PLAIN)
    for number in (1, 2):
        bucket.put_with(f"file-{number}.bin", Expires="Wed, 21 Oct 2037 07:28:00 GMT")
    bucket.hold("file-3.bin")
    bucket.hold("file-4.bin")
    service.table.insert([{"id": number, "client_id": 1, "object_key": f"file-{number}.bin", "title": ""} for number in range(1, 7)])

    ended = deployment.rekey("plan", "--thorough", "--json", **named)
    tried = deployment.rekey("doctor", "--json", **named)
    by_store = deployment.rekey("plan", "--thorough", "--copy", "server", **named)

    assert (ended.status, classes(ended.report)) == (FINDINGS, {"locked": 2}), ended.err
    assert (ended.report["looked"]["thorough"], ended.report["to_move"]) == (True, 6)
    assert ended.report["looked"]["probed"] is False
    assert (tried.status, by_store.status) == (DONE, FINDINGS), tried.out
    assert re.search(r"^ +2 locked ", by_store.out, re.MULTILINE)
    assert re.search(r"^ +expires +2: file-1.bin, file-2.bin$", by_store.out, re.MULTILINE), by_store.out
    assert "row 3: file-3.bin -> clients/1/assets/file-3.bin: x-amz-object-lock-legal-hold: ON" in by_store.out
    assert "is not known yet" not in by_store.out


@pytest.mark.timeout(400)
def test_plan_that_is_enqueued_moves_what_it_said_and_rates_the_next(table: Table, working: Deployment) -> None:
    """The run keeps the plan's settings and its id; the next plan goes by its rate and finds all in place."""
    service, named = table
    changed = {"REKEY_TEMPLATE": "moved/{client_id}/{file_name}", **named}
    plan = working.rekey("plan", "--json", **changed).report

    ended = working.rekey("enqueue", "--plan", plan["plan"][:8], "--watch", "--json", seconds=300, **named)

    assert ended.status == DONE, ended.err
    assert (ended.report["deleted"], ended.report["rows"]) == (plan["to_move"], plan["rows"])
    assert service.table.key(1) == "moved/2/file-1.bin"
    (stored,) = service.table.run("SELECT plan_id FROM rekey_runs WHERE id = :id", id=ended.report["run"])
    assert stored == (plan["plan"],)
    again = working.rekey("plan", "--json", **changed)
    assert again.status == DONE, again.err
    assert classes(again.report) == {"in_place": ASSETS}
    assert (again.report["to_move"], again.report["time"]["measured"]) == (0, True)
    assert ended.report["run"][:8] in again.report["time"]["basis"]


def test_plan_is_refused_where_the_table_has_drifted(table: Table, deployment: Deployment) -> None:
    """Above the bound, which can be set; rows that are new, changed or gone all count."""
    service, named = table
    plan = deployment.rekey("plan", "--json", **named).report
    service.fill(3, first=ASSETS + 1)
    service.table.save_key(1, "elsewhere.bin")
    service.table.run(f"DELETE FROM {service.table.name} WHERE id = 2")
    before = state(deployment, service)

    refused(deployment.rekey("enqueue", "--plan", plan["plan"], **named), "drifted by 1.2 %", "0.75 % new", "0.25 % gone", "plan again")
    refused(deployment.rekey("enqueue", "--plan", plan["plan"], "--max-drift", "0.5", **named), "--max-drift 0.5")

    assert state(deployment, service) == before
    ended = deployment.rekey("enqueue", "--plan", plan["plan"], "--max-drift", "2", **named)
    assert ended.status == DONE, ended.err


@pytest.mark.parametrize(
    ("args", "settings", "words"),
    [
        (("--plan", "ffffffff"), {}, ("no plan begins with 'ffffffff'",)),
        (("--plan", ""), {}, ("no plan begins with ''",)),
        (("--plan", "ID"), {"REKEY_S3_BUCKET": "other-bucket"}, ("REKEY_S3_BUCKET", "other-bucket")),
        (("--plan", "ID"), {"REKEY_TABLE": "other_table"}, ("REKEY_TABLE", "other_table")),
        (("--plan", "ID", "--template", "b/{client_id}/{file_name}"), {}, ("REKEY_TEMPLATE", "b/{client_id}/{file_name}")),
        (("--plan", "ID", "--where", "id < 5"), {}, ("REKEY_WHERE", "id < 5")),
        (("--plan", "ID"), {"REKEY_GRACE_SECONDS": "5"}, ("REKEY_GRACE_SECONDS",)),
        (("--plan", "ID", "--max-drift", "nan"), {}, ("--max-drift",)),
        (("--plan", "ID", "--max-drift", "-1"), {}, ("--max-drift",)),
        (("--plan", "ID", "--max-drift", "much"), {}, ("--max-drift",)),
        (("--max-drift", "2"), {}, ("--max-drift", "--plan")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_enqueue_refuses_a_plan_that_is_not_one_of_this_table(
    args: tuple[str, ...],
    settings: dict[str, str],
    words: tuple[str, ...],
    planned: Planned,
    deployment: Deployment,
) -> None:
    """In one line, and nothing is started."""
    service, named, plan_id = planned
    before = state(deployment, service)

    ended = deployment.rekey("enqueue", *(plan_id if word == "ID" else word for word in args), **{**named, **settings})

    refused(ended, *words)
    assert state(deployment, service) == before


@pytest.fixture(scope="module")
def planned(deployment: Deployment) -> Planned:
    """A small table and a plan of it."""
    service, named = deployment.service()
    service.fill(3)
    return service, named, deployment.rekey("plan", "--json", **named).report["plan"]


def test_plan_of_a_table_that_was_made_anew_is_refused(deployment: Deployment) -> None:
    """The same rows in columns of other types are another table."""
    service, named = deployment.service()
    service.fill(3)
    plan = deployment.rekey("plan", "--json", **named).report["plan"]
    service.table.run(f"ALTER TABLE {service.table.name} ALTER COLUMN client_id TYPE NUMERIC")

    refused(deployment.rekey("enqueue", "--plan", plan, **named), "other columns or types", "plan again")


@pytest.mark.parametrize(
    ("args", "settings", "words"),
    [
        (("--price-per-1000", "put"), {}, ("--price-per-1000", "'put'")),
        (("--price-per-1000", "put=-1"), {}, ("--price-per-1000",)),
        (("--price-per-1000", "post=1"), {}, ("--price-per-1000", "post=1")),
        (("--show", "ffff"), {}, ("no plan begins with 'ffff'",)),
        ((), {"REKEY_TABLE": "no_such_table"}, ("REKEY_TABLE", "no_such_table")),
        ((), {"REKEY_S3_BUCKET": "no-such-bucket-here"}, ("REKEY_S3_BUCKET", "no-such-bucket-here")),
        ((), {"REKEY_S3_SECRET_KEY": "wrong-secret"}, ("REKEY_S3_SECRET_KEY",)),
        ((), {"REKEY_WHERE": "no_such_column = 1"}, ("REKEY_WHERE", "no_such_column")),
        ((), {"REKEY_REFERENCES": "thumbs.k"}, ("thumbs",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_plan_refuses_what_cannot_be_right(
    args: tuple[str, ...],
    settings: dict[str, str],
    words: tuple[str, ...],
    planned: Planned,
    deployment: Deployment,
) -> None:
    """In one line, and no plan is saved."""
    service, named, _ = planned

    refused(deployment.rekey("plan", *args, **{**named, **settings}), *words)

    assert plans(service) == 1


def test_plan_needs_no_ledger_where_it_is_not_saved(planned: Planned, deployment: Deployment, tmp_path: object) -> None:
    """Without the ledger's tables it says how to get them, or plans without a record and says so. No broker is needed either."""
    service, named, _ = planned
    bare = {**named, "REKEY_DATABASE_URL": f"sqlite:///{tmp_path}/bare.db"}
    refused(deployment.rekey("plan", **bare), "REKEY_DATABASE_URL", "bare.db")
    other = type(service)(bare["REKEY_DATABASE_URL"], deployment.store, table=service.table.name, bucket=service.bucket.name)
    other.table.create()
    other.table.insert([{"id": 1, "client_id": 2, "object_key": "file-1.bin", "title": ""}])
    other.table.engine.dispose()

    refused(deployment.rekey("plan", **bare), "rekey init", "--no-save")
    ended = deployment.run("app", "plan", "--no-save", "--json", without=("REKEY_BROKER_URL",), **bare)
    text = deployment.rekey("plan", "--no-save", **bare)

    assert ended.status == DONE, ended.err
    assert (ended.report["plan"], ended.report["saved"], ended.report["to_move"]) == (None, False, 1)
    assert "Not saved" in text.out
    assert other.table.run("SELECT name FROM sqlite_master WHERE name LIKE 'rekey%'") == []


def test_plan_on_the_embedded_stack_finds_the_same(seaweed: S3Server, redis_url: str, tmp_path: Path) -> None:
    """SQLite and SeaweedFS, which lists folder by folder: each key is looked at by a HEAD then, and the outcome is the same."""
    made = Deployment(database_url=f"sqlite:///{tmp_path}/assets.db", broker_url=redis_url, store=seaweed, folder=tmp_path)
    service, named = made.service()
    assert made.rekey("init", **named).status == DONE
    service.fill(60)
    service.table.insert([{"id": 61, "client_id": 1, "object_key": "gone.bin", "title": ""}])
    service.upload({"clients/2/assets/file-1.bin": PLAIN, "p/x": PLAIN, "p-b": PLAIN})

    ended = made.rekey("plan", "--json", **named)

    assert ended.status == FINDINGS, ended.err
    assert classes(ended.report) == {"missing_source": 1, "target_exists": 1}
    assert (ended.report["to_move"], ended.report["rows"]) == (59, 61)
    run = made.rekey("enqueue", "--plan", ended.report["plan"], "--json", **named)
    assert run.status == DONE, run.err
    again = made.rekey("plan", "--json", **named)  # what the store honours is known by now
    assert classes(again.report) == {"missing_source": 1, "target_exists": 1}
    assert again.report["looked"] == {**ended.report["looked"], "probed": True, "by_listing": False, "listings": 0, "heads": 122}
    service.close()
