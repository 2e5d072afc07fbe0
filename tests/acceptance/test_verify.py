"""The recount that an operator asks for, and a database that is restored from an older back-up: found and healed (H15)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests import servers
from tests.acceptance.deployment import Deployment
from tests.acceptance.service import Content

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.acceptance.service import Asset, Service
    from tests.servers import RedisServer, S3Server, SqlServer

ASSETS = 120
FINDINGS = 3
USAGE = 2
PLAIN = Content(body=b"somebody's", content_type="text/plain")


class Backup:
    """Dumps and restores a PostgreSQL database with its own programs."""

    def __init__(self, url: str, folder: Path) -> None:
        self._programs = servers._find_postgres()
        if not (self._programs / "pg_dump").exists():
            pytest.skip("no pg_dump beside postgres")
        parts = urlsplit(url.replace("+psycopg", ""))
        self._environ = os.environ | {"PGPASSWORD": str(parts.password)}
        self._url = f"postgresql://{parts.username}@{parts.hostname}:{parts.port}{parts.path}"
        self._folder = folder

    def dump(self, name: str) -> None:
        """Write the database to a file."""
        self._run("pg_dump", "--format=custom", f"--file={self._folder}/{name}", self._url)

    def restore(self, name: str) -> None:
        """Make the database what it was then; tables that were not there go, too."""
        self._run("psql", "--quiet", "--command=DROP SCHEMA public CASCADE; CREATE SCHEMA public", self._url)
        self._run("pg_restore", "--exit-on-error", f"--dbname={self._url}", f"{self._folder}/{name}")

    def _run(self, program: str, *args: str) -> None:
        done = subprocess.run([str(self._programs / program), *args], env=self._environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def alone(postgres: SqlServer, minio: S3Server, redis_server: RedisServer, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment with a database of its own, without ledger and workers."""
    url = postgres.make_database()
    yield Deployment(database_url=url, broker_url=redis_server.url, store=minio, folder=tmp_path, settings={"HOME": str(tmp_path)})
    postgres.drop_database(url)


def readable(service: Service, assets: list[Asset]) -> bool:
    """Whether each row names an object with its asset's content."""
    rows = service.table.keys()
    return all(service.bucket.get(rows[asset.id]) == asset.content for asset in assets)


@pytest.mark.timeout(500)
def test_database_restored_from_before_the_run_is_healed(alone: Deployment, tmp_path: Path) -> None:
    """A dump from before `rekey init`, a whole run, the dump restored: verify finds every row, --repair heals them, nothing is left."""
    service, named = alone.service()
    assets = service.fill(ASSETS)
    backup = Backup(alone.database_url, tmp_path)
    backup.dump("before")
    assert alone.rekey("init").status == 0
    with alone.workers():
        assert alone.rekey("enqueue", "--watch", "--json", seconds=200, **named).status == 0
        sound = alone.rekey("verify", "--run", "last", "--headers", "--json", **named)
    objects = service.bucket.versions()

    backup.restore("before")
    ill = alone.rekey("verify", "--json", "--output", str(tmp_path / "found.jsonl"), **named)
    shown = alone.rekey("verify", "--repair", **named)
    untouched = service.table.keys()
    healed = alone.rekey("verify", "--repair", "--yes", "--json", **named)
    well = alone.rekey("verify", "--json", **named)
    again = alone.rekey("verify", "--repair", "--yes", "--json", **named)

    assert sound.status == 0, sound.out
    assert sound.report["recount"] == {"deleted": {"ledger": ASSETS, "agree": ASSETS}}
    assert (ill.status, ill.report["faults"]) == (FINDINGS, {"missing": ASSETS, "stray_new": ASSETS})
    lines = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {line["key"] for line in lines if line["kind"] == "missing"} == {asset.old_key for asset in assets}
    assert shown.status == FINDINGS
    assert "nothing was changed: --yes switches them" in shown.out
    assert untouched == {asset.id: asset.old_key for asset in assets}
    assert (healed.status, healed.report["healed"]) == (0, ASSETS), healed.err
    assert (well.status, well.report["faults"]) == (0, {}), well.out
    assert (again.status, again.report["found"]) == (0, {})
    assert service.differences(assets) == []
    assert service.bucket.versions() == objects


@pytest.mark.timeout(500)
def test_database_restored_from_the_middle_of_a_run_is_healed_while_that_rests(alone: Deployment, tmp_path: Path) -> None:
    """The dump has a live run: repair is refused until it is paused, and the run then ends as if nothing had been."""
    assert alone.rekey("init").status == 0
    service, named = alone.service()
    assets = service.fill(ASSETS)
    backup = Backup(alone.database_url, tmp_path)
    run = alone.rekey("enqueue", "--json", **named).report["run"]
    backup.dump("middle")
    with alone.workers():
        assert alone.rekey("status", "--watch", "--json", seconds=200, **named).report["deleted"] == ASSETS

    backup.restore("middle")
    refused = alone.rekey("verify", "--repair", "--yes", **named)
    paused = alone.rekey("pause", **named)
    healed = alone.rekey("verify", "--repair", "--yes", "--json", **named)
    assert alone.rekey("resume", **named).status == 0
    with alone.workers():
        ended = alone.rekey("status", "--watch", "--json", seconds=200, **named)
    verified = alone.rekey("verify", "--run", run[:8], "--json", **named)

    assert (refused.status, refused.out) == (USAGE, "")
    assert "rekey pause" in refused.complaint
    assert paused.status == 0
    assert (healed.status, healed.report["healed"]) == (0, ASSETS), healed.err
    assert (ended.report["state"], ended.report["in_place"]) == ("finished", ASSETS)
    assert (verified.status, verified.report["faults"]) == (0, {}), verified.out
    assert service.differences(assets) == []


@pytest.mark.timeout(500)
def test_verify_says_what_is_wrong_and_changes_nothing(working: Deployment, tmp_path: Path) -> None:
    """After a run: an object that is gone, one of another size, strays of both schemes, a row that was set back; for a person too."""
    service, named = working.service()
    assets = service.fill(40)
    assert working.rekey("enqueue", "--watch", "--json", seconds=200, **named).status == 0
    service.bucket.remove(assets[0].new_key)
    service.table.save_key(assets[1].id, assets[1].old_key)
    service.upload({"stray.bin": PLAIN, "clients/99/assets/stray.bin": PLAIN, assets[2].new_key: PLAIN})
    time.sleep(3)  # beyond REKEY_SETTLE_SECONDS
    before = (service.table.keys(), service.bucket.versions())

    told = working.rekey("verify", "--run", "last", HOME=str(tmp_path), **named)
    ended = working.rekey("verify", "--run", "last", "--json", HOME=str(tmp_path), **named)

    assert (told.status, ended.status) == (FINDINGS, FINDINGS)
    assert ended.report["faults"] == {"missing": 2, "stray_old": 1, "stray_new": 1, "wrong_row": 1}
    assert ended.report["notes"] == {"left_over": 1, "changed_since": 1}
    assert ended.report["recount"] == {"deleted": {"ledger": 40, "agree": 39}}
    assert "rows whose object is not there (missing)" in told.out
    assert repr(assets[0].new_key) in told.out
    assert "`rekey verify --repair`" in told.out
    assert (service.table.keys(), service.bucket.versions()) == before
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("args", "settings", "words"),
    [
        (("--run", "nonesuch"), {}, ("nonesuch",)),
        (("--run", "last"), {}, ("no run yet",)),
        (("--repair", "--headers"), {}, ("--repair", "--headers")),
        (("--output", "no/such/folder/found.jsonl"), {}, ("--output", "no such folder")),
        ((), {"REKEY_TABLE": "no_such_table"}, ("no_such_table",)),
    ],
    ids=lambda value: "" if isinstance(value, dict) else "_".join(value),
)
def test_verify_refuses_what_cannot_be_right(
    args: tuple[str, ...], settings: Mapping[str, str], words: tuple[str, ...], deployment: Deployment, tmp_path: Path
) -> None:
    """In one line, before anything is read."""
    _, named = deployment.service()

    ended = deployment.rekey("verify", *args, HOME=str(tmp_path), **{**named, **settings})

    assert (ended.status, ended.out) == (USAGE, ""), ended.err
    assert [word for word in words if word not in ended.complaint] == []


@pytest.mark.timeout(500)
def test_embedded_servers_are_verified_and_healed(seaweed: S3Server, redis_server: RedisServer, sqlite_url: str, tmp_path: Path) -> None:
    """SQLite and SeaweedFS: a copy of the database file from before the run, put back after it."""
    made = Deployment(
        database_url=sqlite_url, broker_url=redis_server.url, store=seaweed, folder=tmp_path, settings={"HOME": str(tmp_path)}
    )
    assert made.rekey("init").status == 0
    service, named = made.service()
    assets = service.fill(ASSETS)
    service.upload({"odd/p-b": PLAIN, "odd/p/x": PLAIN, "odd/p0": PLAIN, "odd.x": PLAIN})
    path = tmp_path / "assets.db"
    shutil.copy(path, tmp_path / "older.db")
    with made.workers():
        assert made.rekey("enqueue", "--watch", "--json", seconds=200, **named).status == 0
    sound = made.rekey("verify", "--run", "last", "--headers", "--json", **named)
    for ending in ("", "-wal", "-shm"):
        (tmp_path / f"assets.db{ending}").unlink(missing_ok=True)
    shutil.copy(tmp_path / "older.db", path)

    ill = made.rekey("verify", "--json", **named)
    healed = made.rekey("verify", "--repair", "--yes", "--json", **named)
    well = made.rekey("verify", "--json", **named)

    assert (sound.status, sound.report["faults"]) == (FINDINGS, {"stray_old": 4}), sound.out
    assert sound.report["objects"] == ASSETS + 4
    assert ill.report["faults"]["missing"] == ASSETS
    assert (healed.status, healed.report["healed"]) == (0, ASSETS), healed.err
    assert well.report["faults"] == {"stray_old": 4}
    assert readable(service, assets)
