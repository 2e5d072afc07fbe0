"""``rekey report`` as a user types it, on an SQLite ledger: where it goes, what it refuses, what it says of the run."""

from __future__ import annotations

import csv
import gzip
import io
import json
import logging
from typing import TYPE_CHECKING

import pytest

from app import cli, resources
from tests.builders import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USAGE = 2
FLAGS = ("--s3-bucket", "assets", "--table", "assets")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A run that has ended: two moved, one without an object; and a process without settings but the ledger's address."""
    made = World(tmp_path, settings={"grace_seconds": 0})
    made.add(1)
    made.add(2, "up/=2+3.png", client="<script>alert(1)")
    made.add(3, body=None)
    made.go()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REKEY_DATABASE_URL", f"sqlite:///{tmp_path}/world.db")
    monkeypatch.setattr(resources, "_settings", None)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield made
    root.handlers[:] = handlers
    root.setLevel(level)


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
