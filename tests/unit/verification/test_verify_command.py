"""``rekey verify`` as a user types it, on an SQLite ledger and a bucket in memory: what it writes where, what it keeps, how it ends."""

from __future__ import annotations

import errno
import json
import logging
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, NoReturn

import pytest

from app import cli, resources
from app.cli import verify_setup
from app.errors import DatabaseUnavailableError
from app.reporting import outputs
from tests.verifying import subject_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.builders import World

DONE, ERROR, USAGE, FINDINGS, INTERRUPTED = 0, 1, 2, 3, 130
FLAGS = ("--s3-bucket", "assets", "--table", "assets", "--settle-seconds", "1")


@pytest.fixture
def world(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A finished run, and a process with the addresses of its ledger and its bucket; this user's own files lie in ``home``."""
    for number in range(1, 4):
        world.add(number)
    world.go()
    world.later(100)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REKEY_DATABASE_URL", f"sqlite:///{tmp_path}/world.db")
    monkeypatch.setenv("REKEY_S3_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("REKEY_S3_ACCESS_KEY", "nobody")
    monkeypatch.setenv("REKEY_S3_SECRET_KEY", "nothing-at-all")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(resources, "_settings", None)
    monkeypatch.setattr(verify_setup, "subject_of", lambda _settings, run, *_, **__: nullcontext(subject_of(world, run)))
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield world
    root.handlers[:] = handlers
    root.setLevel(level)


def kept(folder: Path) -> list[str]:
    """The endings of what a verification has left to go on with."""
    return sorted(path.suffix for path in folder.glob("home/asset-rekey/*"))


def test_findings_are_written_and_nothing_is_kept(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is there is replaced when all is written."""
    world.store.app_delete("clients/7/assets/2.png")
    path = tmp_path / "found.jsonl"
    path.write_text("older")

    assert cli.main(["verify", "--json", "--output", str(path), *FLAGS]) == FINDINGS
    assert [json.loads(line)["kind"] for line in path.read_text().splitlines()] == ["missing"]
    assert json.loads(capsys.readouterr().out)["output"] == str(path)
    assert kept(tmp_path) == []


@pytest.mark.parametrize("repair", [(), ("--repair",)], ids=["verify", "repair"])
def test_output_that_cannot_be_written_is_refused_before_anything_is_read(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], repair: tuple[str, ...]
) -> None:
    """Its name is too long for a file: nobody learns that after hours."""
    calls = len(world.store.calls)

    assert cli.main(["verify", *repair, "--output", str(tmp_path / ("x" * 300)), *FLAGS]) == USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert "--output" in line
    assert (world.store.calls[calls:], kept(tmp_path)) == ([], [])


def test_output_and_state_are_two_files(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else the findings would be removed with what was read."""
    path = str(tmp_path / "one")

    assert cli.main(["verify", "--output", path, "--state", path, *FLAGS]) == USAGE
    assert "name one file" in capsys.readouterr().err
    assert world.states() == {"deleted": 3}
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize("repair", [(), ("--repair",)], ids=["verify", "repair"])
def test_what_was_read_is_kept_where_the_findings_cannot_be_written(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], repair: tuple[str, ...]
) -> None:
    """The disk was full: --resume writes them without reading all again."""
    world.store.app_delete("clients/7/assets/2.png")
    world.save_key(2, "up/2.png")
    flags = (*repair, "--output", str(tmp_path / "found.jsonl"), *FLAGS)
    with monkeypatch.context() as patch:
        patch.setattr(outputs.os, "fsync", _full)
        failed = cli.main(["verify", *flags])
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("rekey")]
    state, listed = kept(tmp_path), len(world.store.calls)
    resumed = cli.main(["verify", "--resume", *flags])

    assert (failed, resumed) == (ERROR, FINDINGS)
    assert "No space left on device; what was read so far is kept: the same command with --resume goes on" in line
    assert state == [".db"]
    assert "list_page" not in {call[0] for call in world.store.calls[listed:]}
    assert len((tmp_path / "found.jsonl").read_text().splitlines()) == 1
    assert kept(tmp_path) == []


@pytest.mark.parametrize("restored", [True, False], ids=["healed", "nothing_to_heal"])
def test_repair_that_could_not_read_all_of_the_journal_ends_with_findings(
    world: World, capsys: pytest.CaptureFixture[str], *, restored: bool
) -> None:
    """What it does not know of, it cannot call well; it heals what it can."""
    if restored:
        world.save_key(2, "up/2.png")
    world.store.app_put(".rekey/journal/0", b"cut sh")
    world.store.app_put(".rekey/journal/x", b"cut sh")
    told = cli.main(["verify", "--repair", "--yes", *FLAGS])
    out = capsys.readouterr().out
    status = cli.main(["verify", "--repair", "--yes", "--json", *FLAGS])
    report = json.loads(capsys.readouterr().out)

    assert (told, status) == (FINDINGS, FINDINGS)
    assert "2 more could not be read: rows that they are about are not in this list" in out
    assert (report["journal_unreadable"], report["found"]) == (2, {})
    assert world.get(2) == b"v1"


def test_repair_that_healed_all_ends_well(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a journal that could be read."""
    world.save_key(2, "up/2.png")

    assert cli.main(["verify", "--repair", "--yes", "--json", *FLAGS]) == DONE
    assert json.loads(capsys.readouterr().out)["healed"] == 1


def _full(_file: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_interrupted_verification_says_how_it_goes_on(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After an hour of reading nobody should have to look that up."""
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "list_page", _interrupted)
        status = cli.main(["verify", *FLAGS])
    lines = capsys.readouterr().err.splitlines()

    assert (status, kept(tmp_path)) == (INTERRUPTED, [".db"])
    assert "rekey: interrupted; what was read so far is kept: the same command with --resume goes on" in lines
    assert cli.main(["verify", "--resume", *FLAGS]) == DONE


def test_nothing_is_said_to_be_kept_where_nothing_was_read(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The database was away from the beginning."""
    monkeypatch.setattr(verify_setup, "chosen_run", _away)

    assert cli.main(["verify", *FLAGS]) == ERROR
    assert capsys.readouterr().err.splitlines() == ["rekey: the database did not answer"]
    assert (kept(tmp_path), world.states()) == ([], {"deleted": 3})


def _interrupted(*_: object, **__: object) -> NoReturn:
    raise KeyboardInterrupt


def _away(*_: object, **__: object) -> NoReturn:
    raise DatabaseUnavailableError("the database did not answer")
