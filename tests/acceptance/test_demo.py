"""``rekey demo`` as a user starts it: what it proves, what it prints, and that it leaves nothing behind however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.embedded.broker import find_broker
from app.embedded.store import find_store
from app.errors import UsageError
from app.install import HOME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import S3Server

SECONDS = 240.0  # two slow cores that others use too
PARKED = {"bad_name": 10, "collision": 3, "missing_source": 2, "target_exists": 1, "too_long": 2}


@dataclass
class Demo:
    """One ``rekey demo`` with a folder for temporary files of its own."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start it."""
        self.temporary.mkdir()
        base = {name: value for name, value in os.environ.items() if not name.startswith(("REKEY_", "CELERY_"))}
        with (self.folder / "out").open("w") as out, (self.folder / "err").open("w") as err:
            return subprocess.Popen(
                [sys.executable, "-m", "app", "demo", *arguments],
                cwd=self.folder,
                env=base | {"TMPDIR": str(self.temporary), "PYTHONPATH": str(HOME)} | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def run(self, *arguments: str) -> int:
        """Run it to its end and give the exit status."""
        process = self.start(*arguments)
        try:
            return process.wait(SECONDS)
        finally:
            process.kill()

    def wait_for(self, process: subprocess.Popen[bytes], words: str) -> None:
        """Wait until it says so."""
        end = time.monotonic() + SECONDS
        while words not in self.err:
            assert process.poll() is None, f"it ended with {process.returncode} before it said {words!r}: {self.err}"
            assert time.monotonic() < end, f"it did not say {words!r}: {self.err}"
            time.sleep(0.05)

    @property
    def temporary(self) -> Path:
        """The folder for its temporary files."""
        return self.folder / "tmp"

    @property
    def out(self) -> str:
        """What it wrote to standard output."""
        return (self.folder / "out").read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        """What it wrote to standard error."""
        return (self.folder / "err").read_text(encoding="utf-8")

    @property
    def report(self) -> dict[str, Any]:
        """The object that --json prints."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    def left_behind(self) -> list[str]:
        """Files in its folder for temporary files, and processes that were started with it."""
        files = [path.name for path in self.temporary.iterdir()]
        return files + [" ".join(command) for command in _processes_with(str(self.temporary))]


def _processes_with(text: str) -> Iterator[list[str]]:
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # A process that shows a title of its own has written it over its first environment.
            if text in str((place / "cwd").readlink()) or text.encode() in (place / "environ").read_bytes():
                yield (place / "cmdline").read_bytes().decode(errors="replace").split("\0")


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    """A demonstration, if this machine has servers for it."""
    try:
        find_broker()
        find_store()
    except UsageError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    return Demo(tmp_path)


def assert_sound(report: dict[str, Any], *, assets: int) -> None:
    """No failed read, no lost write, every asset accounted for, and the recount agrees."""
    assert (report["state"], report["open"], report["unseen"]) == ("finished", 0, 0)
    assert (report["failed_reads"], report["failed_writes"], report["lost_writes"]) == (0, 0, 0)
    assert report["reads"] > 0
    assert report["writes"] > 0
    assert report["recount"]["wrong"] == 0
    assert (report["recount"]["renamed"], report["recount"]["deleted"]) == (report["renamed"], report["deleted"])
    outcomes = ("deleted", "kept", "in_place", "parked", "superseded", "cancelled", "rolled_back")
    assert sum(report[name] for name in outcomes) == report["rows"]
    # Assets that the writer removed before they were planned have no move.
    assert assets * 0.9 <= report["renamed"] + report["superseded"] <= assets


def test_demo_moves_real_files_under_live_traffic_and_leaves_nothing(demo: Demo) -> None:
    """Exit status 0, one JSON object, everything gone; the user's own settings are not heeded."""
    demo.environment = {
        "REKEY_DATABASE_URL": "postgresql://nobody@nowhere/x",
        "REKEY_GRACE_SECONDS": "9999",
        "CELERY_BROKER_URL": "amqp://nowhere",
    }
    (demo.folder / "rekey.toml").write_text("no such setting = 1\n", encoding="utf-8")
    status = demo.run("--assets", "200", "--json")

    assert status == 0, demo.err
    assert_sound(demo.report, assets=200)
    assert demo.report["parked"] == 0
    assert demo.left_behind() == []
    assert "Traceback" not in demo.err


def test_demo_works_on_minio(demo: Demo, minio: S3Server) -> None:
    """MinIO honours no conditions on copies and deletes; where it is on the PATH it is the store."""
    (demo.folder / "bin").mkdir()
    (demo.folder / "bin" / "minio").symlink_to(minio.server.program.argv[0])
    demo.environment = {"PATH": f"{demo.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    status = demo.run("--assets", "200", "--json")

    assert status == 0, demo.err
    assert_sound(demo.report, assets=200)
    assert demo.left_behind() == []


def test_demo_with_problems_lists_each_reason(demo: Demo) -> None:
    """Exit status 3, and exactly what was planted is parked, its objects untouched."""
    status = demo.run("--assets", "120", "--with-problems", "--json")

    assert status == 3, demo.err
    assert_sound(demo.report, assets=120)
    assert demo.report["parked_reasons"] == PARKED
    assert "planted 18 problems: bad_name 10, collision 3, missing_source 2, target_exists 1, too_long 2" in demo.err


def test_demo_takes_anybodys_folder(demo: Demo) -> None:
    """Few files, with names that need care, one that is sent in parts, and one whose name is no text; the summary is for people."""
    folder = demo.folder / "mine"
    folder.mkdir()
    for name in ("a b.txt", "a+b.txt", "100%.pdf", "Q#1?x=1&y=2~[é].txt", "日本.png", "leer", ".hidden"):
        (folder / name).write_bytes(name.encode())
    (folder / "film.mp4").write_bytes(os.urandom(12 * 1024**2))
    (folder / "empty.txt").touch()
    (folder / os.fsdecode(b"latin-1 \xe9.txt")).touch()
    status = demo.run("--from", str(folder))
    words = [line.split() for line in demo.out.splitlines()]

    assert status == 3, demo.err
    assert "10 of the 2000 assets asked for: there are no more files" in demo.err
    for expected in (["renamed", "9"], ["deleted", "9"], ["parked", "1"], ["bad_name", "1"]):
        assert expected in words
    assert ["0", "failed"] in [line[2:4] for line in words if line[:1] == ["reads"]]
    assert ["0", "lost"] in [line[2:4] for line in words if line[:1] == ["writes"]]


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [
        (signal.SIGINT, "files (", 130),
        (signal.SIGINT, "are up in", 130),
        (signal.SIGINT, "uploaded", 130),
        (signal.SIGINT, " running | ", 130),
        (signal.SIGTERM, " running | ", 143),
        (signal.SIGHUP, "uploaded", 129),
    ],
)
def test_demo_leaves_nothing_when_it_is_interrupted(demo: Demo, number: signal.Signals, words: str, expected: int) -> None:
    """Whenever Ctrl-C, SIGTERM or a closed terminal comes, all is stopped and removed, without a traceback."""
    process = demo.start("--assets", "300")
    demo.wait_for(process, words)
    process.send_signal(number)
    status = process.wait(60)

    assert status == expected, demo.err
    assert demo.left_behind() == []
    assert "Traceback" not in demo.err
    assert demo.out == ""


def test_demo_leaves_nothing_when_ctrl_c_comes_twice(demo: Demo) -> None:
    """The second one does not interrupt the way out."""
    process = demo.start("--assets", "300")
    demo.wait_for(process, " running | ")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    status = process.wait(60)

    assert status == 130, demo.err
    assert demo.left_behind() == []


def test_demo_says_why_when_its_workers_die(demo: Demo) -> None:
    """One line with the cause, exit status 1, nothing left behind."""
    process = demo.start("--assets", "300")
    demo.wait_for(process, " running | ")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    (supervisor,) = [int(pid) for pid in children if b"workers" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
    os.kill(supervisor, signal.SIGKILL)
    status = process.wait(60)

    assert status == 1, demo.err
    assert "rekey: the workers ended with status -9; the workers' log" in demo.err
    assert "Traceback" not in demo.err
    assert demo.left_behind() == []


def test_demo_keeps_its_folder_when_it_is_asked_to(demo: Demo) -> None:
    """Database and logs to look at; the servers end all the same."""
    status = demo.run("--assets", "40", "--keep")
    (kept,) = demo.temporary.iterdir()

    assert status == 0, demo.err
    assert f"stopped; kept: {kept}" in demo.err
    assert {"assets.db", "workers.log"} <= {path.name for path in kept.iterdir()}
    assert demo.left_behind() == [kept.name]
