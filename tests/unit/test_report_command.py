"""``rekey report`` as a user types it, on an SQLite ledger: where it goes, what it refuses, what it says of the run."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import logging
from typing import TYPE_CHECKING

import pytest

from app import cli, resources
from app.testing.versions import CONDITIONAL
from tests.builders import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USAGE = 2
FLAGS = ("--s3-bucket", "assets", "--table", "assets")


@pytest.fixture
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process without settings but the ledger's address."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REKEY_DATABASE_URL", f"sqlite:///{tmp_path}/world.db")
    monkeypatch.setattr(resources, "_settings", None)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def world(tmp_path: Path, _at_home: None) -> World:
    """A run that has ended: two moved, one without an object."""
    made = World(tmp_path, settings={"grace_seconds": 0})
    made.add(1)
    made.add(2, "up/=2+3.png", client="<script>alert(1)")
    made.add(3, body=None)
    made.go()
    return made


def rows_of(text: str) -> list[dict[str, str]]:
    """What a reader of CSV gets."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_report_is_csv_on_standard_output(world: World, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """A line an asset, and nothing else, so that it can be piped."""
    assert cli.main(["report", *FLAGS]) == 0
    out, err = capfdbinary.readouterr()

    assert [(row["row_id"], row["outcome"], row["reason"]) for row in rows_of(out.decode())] == [
        ("1", "deleted", ""),
        ("3", "parked", "missing_source"),  # in the order of the new keys
        ("2", "deleted", ""),
    ]
    assert err == b""


def test_report_is_written_to_a_file_compressed_and_filtered(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says how many lines are where."""
    path = tmp_path / "moves.jsonl.gz"

    assert cli.main(["report", *FLAGS, "--format", "jsonl", "--outcome", "parked, kept", "--output", str(path), "--gzip"]) == 0
    (line,) = gzip.decompress(path.read_bytes()).splitlines()
    assert (json.loads(line)["row_id"], json.loads(line)["run"]) == ([3], world.run.id)
    assert capsys.readouterr().out == f"run {world.run.id[:8]}: 1 lines written to {path}\n"


def test_json_says_who_ran_it_with_what_and_what_was_written(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, with the counts of the contract."""
    assert cli.main(["report", *FLAGS, "--json"]) == 0
    head = json.loads(capsys.readouterr().out)
    assert cli.main(["report", *FLAGS, "--json", "--run", world.run.id[:6], "--output", str(tmp_path / "x.csv")]) == 0
    written = json.loads(capsys.readouterr().out)["written"]

    assert (head["run"], head["kind"], head["started_by"], head["version"]) == (world.run.id, "move", "tester", "0")
    assert (head["rows"], head["deleted"], head["parked_reasons"], head["written"]) == (3, 2, {"missing_source": 1}, None)
    assert head["settings"] == {"grace_seconds": 0}
    assert head["ended_at"].endswith("Z")
    assert written == {"to": str(tmp_path / "x.csv"), "assets": 3, "bytes": (tmp_path / "x.csv").stat().st_size, "left_out": {}}


def test_redirects_are_written_and_what_is_left_out_is_told(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output is the redirects alone."""
    world.set_columns(2, old_key="up/./x.png")

    assert cli.main(["report", *FLAGS, "--redirects", "csv", "--prefix", "/media/"]) == 0
    out, err = capfd.readouterr()
    assert out.splitlines() == ["old,new", "/media/up/1.png,/media/clients/7/assets/1.png"]
    assert err == "left out: 1, a browser takes dot segments away before it asks\n"


@pytest.mark.parametrize("kind", ["move", "rollback"])
def test_redirects_of_two_buckets_lead_from_one_path_or_host_to_the_other(
    world: World, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    """By the rule of the run, either way; for nginx the side that links lead from is its own."""
    recorded = {"references": [], "template": "clients/{client_id}/assets/{file_name}", "target_bucket": "new"}
    world.sql("UPDATE rekey_runs SET kind = :kind, settings = :settings", kind=kind, settings=json.dumps(recorded))
    world.sql("DELETE FROM rekey_moves WHERE row_id <> '[1]'")
    if kind == "rollback":
        world.set_columns(1, old_key="clients/7/assets/1.png", new_key="up/1.png")
    asked = ["report", *FLAGS, "--redirects"]

    assert cli.main([*asked, "csv", "--prefix", "/media/", "--target-prefix", "https://new.example/"]) == 0
    pair = ["/media/up/1.png", "https://new.example/clients/7/assets/1.png"]
    assert capfd.readouterr().out.splitlines() == ["old,new", ",".join(pair if kind == "move" else reversed(pair))]
    status = cli.main([*asked, "nginx", "--prefix", "/media/", "--target-prefix", "https://new.example/"])
    out, err = capfd.readouterr()
    assert (status, f'"{pair[0]}" "{pair[1]}";' in out) == ((0, True) if kind == "move" else (USAGE, False))
    assert ("--target-prefix: 'https://new.example/'" in err) == (kind == "rollback")


def test_page_is_one_file(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For people, and by mail."""
    path = tmp_path / "report.html"

    assert cli.main(["report", *FLAGS, "--html", "--output", str(path)]) == 0
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert page.endswith("</html>\n")
    assert "missing source" in page
    assert "tester" in page
    assert "<script" not in page
    assert capsys.readouterr().out == f"run {world.run.id[:8]}: page about 3 assets written to {path}\n"


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--outcome", "parkt"), "'parkt' is none"),
        (("--output", "a", "--to-bucket", "b"), "give one of them"),
        (("--json", "--gzip"), "--json takes standard output"),
        (("--to-bucket", "moves.csv"), "--to-bucket needs REKEY_S3_ENDPOINT, REKEY_S3_ACCESS_KEY, REKEY_S3_SECRET_KEY"),
        (("--prefix", "/media/"), "--prefix belongs to --redirects"),
        (("--target-prefix", "/new/"), "--target-prefix belongs to --redirects"),
        (("--redirects", "csv", "--target-prefix", "/new/"), "moved nothing into another bucket"),
        (("--redirects", "nginx", "--outcome", "parked"), "without --format and --outcome"),
        (("--redirects", "nginx", "--html"), "give one of them"),
        (("--html", "--format", "csv"), "--html has a form"),
        (("--redirects", "nginx", "--prefix", "media"), "'media' cannot begin the paths"),
        (("--json", "--redirects", "csv"), "--json takes standard output"),
        (("--run", "zzz"), "no run begins with"),
        (("--format", "xml"), "'xml' is not one of"),
        (("--output", "missing/moves.csv"), "cannot be written"),
    ],
)
def test_wrong_use_is_refused_in_one_line(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], complaint: str
) -> None:
    """Exit status 2, and nothing is written."""
    before = sorted(tmp_path.iterdir())

    assert cli.main(["report", *FLAGS, *flags]) == USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert complaint in err
    assert err.count("\n") == 1
    assert [path for path in tmp_path.iterdir() if path not in before and ".db" not in path.name] == []


@pytest.fixture
def archived(tmp_path: Path, _at_home: None) -> World:
    """A run in a versioned bucket that has ended: one moved, three archived, one of them under a key with a line break."""
    made = World(tmp_path, dataclasses.replace(CONDITIONAL, versioning=True), settings={"grace_seconds": 0})
    made.add(1, body=b"ten bytes.")
    for number, key in ((2, "up/cold é,1.png"), (3, "up/two\nlines"), (4, "up/4.png")):
        made.add(number, key, body=None)
        made.store.app_put(key, b"cold", {"x-amz-storage-class": "DEEP_ARCHIVE" if number == 4 else "GLACIER"})
    made.go()
    return made


def test_thaw_list_names_the_keys_to_restore(archived: World, capfd: pytest.CaptureFixture[str]) -> None:
    """One a line; a key that no line can carry is counted beside it."""
    assert archived.parked() == {"archived": 3}
    assert cli.main(["report", *FLAGS, "--thaw", "keys"]) == 0
    out, err = capfd.readouterr()

    assert sorted(out.splitlines()) == ["up/4.png", "up/cold é,1.png"]
    assert err == "left out: 1, keys with a line break, which a list of lines cannot carry: --thaw manifest has them\n"


def test_thaw_manifest_is_what_batch_operations_take(archived: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Bucket and encoded key, every key; into a file as any report."""
    assert cli.main(["report", *FLAGS, "--thaw", "manifest", "--output", "thaw.csv"]) == 0

    rows = list(csv.reader(io.StringIO((tmp_path / "thaw.csv").read_text(), newline="")))
    assert sorted(rows) == [["assets", "up/4.png"], ["assets", "up/cold%20%C3%A9%2C1.png"], ["assets", "up/two%0Alines"]]
    assert "3 lines written to thaw.csv" in capfd.readouterr().out


def test_thaw_goes_with_no_other_kind_of_report(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    """One list at a time."""
    for other in (["--html"], ["--redirects", "csv"], ["--outcome", "parked"], ["--format", "jsonl"], ["--json"]):
        assert cli.main(["report", *FLAGS, "--thaw", "keys", *other]) == USAGE
        assert "--thaw" in capfd.readouterr().err or other == ["--json"]


def test_report_says_what_old_versions_still_hold(archived: World, capfd: pytest.CaptureFixture[str]) -> None:
    """A delete by marker frees nothing; the sum stands in the summary, each asset's part in its line (case 13)."""
    assert cli.main(["report", *FLAGS, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["held"] == {"objects": 1, "bytes": 10}
    assert cli.main(["report", *FLAGS]) == 0

    assert {row["outcome"]: row["bytes_held"] for row in rows_of(capfd.readouterr().out)} == {"deleted": "10", "parked": ""}


def test_report_of_a_bucket_without_versions_holds_nothing(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    """There a delete frees its bytes."""
    assert cli.main(["report", *FLAGS, "--json"]) == 0

    assert json.loads(capfd.readouterr().out)["held"] == {"objects": 0, "bytes": 0}


def test_report_of_moves_that_have_left_the_ledger(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`rekey archive` lets them leave, the report reads them in the bucket, and `--back` brings them back; each says how many."""
    store = ("--s3-endpoint", "http://127.0.0.1:9", *FLAGS)
    monkeypatch.setenv("REKEY_S3_ACCESS_KEY", "key")
    monkeypatch.setenv("REKEY_S3_SECRET_KEY", "secret-key")
    monkeypatch.setattr(resources, "store", lambda *_, **__: world.store)
    assert cli.main(["report", *FLAGS]) == 0
    before = capsys.readouterr().out
    for command, said in (("archive", "2 moves have left the ledger"), ("archive", "0 moves have left")):
        assert cli.main([command, *store]) == 0
        assert said in capsys.readouterr().out

    assert cli.main(["report", *store]) == 0
    assert capsys.readouterr().out == before
    assert cli.main(["report", *FLAGS]) == USAGE
    assert "have left the ledger for the bucket, and reading them needs REKEY_S3_ENDPOINT" in capsys.readouterr().err
    assert cli.main(["archive", *store, "--back", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run": world.run.id, "back": 2}
    assert cli.main(["report", *FLAGS]) == 0
    assert capsys.readouterr().out == before


def test_moves_of_a_run_that_goes_on_do_not_leave(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor those of a rollback, or of what it took back."""
    monkeypatch.setenv("REKEY_S3_ACCESS_KEY", "key")
    monkeypatch.setenv("REKEY_S3_SECRET_KEY", "secret-key")
    origin, store = world.run.id, ("--s3-endpoint", "http://127.0.0.1:9", *FLAGS)
    world.take_back(origin)

    assert cli.main(["archive", *store]) == USAGE
    assert "is running: its moves stay in the ledger until it has ended" in capsys.readouterr().err
    world.go()
    for run_id in (origin, world.run.id):
        assert cli.main(["archive", *store, "--run", run_id]) == USAGE
        assert "is a rollback or was taken back" in capsys.readouterr().err
