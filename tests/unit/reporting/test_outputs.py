"""Files and compression: what is cut short never looks whole."""

from __future__ import annotations

import gzip
import io
import os
from typing import TYPE_CHECKING

import pytest

from app.errors import UsageError
from app.reporting.outputs import gzipped, to_file

if TYPE_CHECKING:
    from pathlib import Path


def test_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    """Until then an older report is there."""
    path = tmp_path / "moves.csv"
    path.write_bytes(b"older")
    with to_file(path) as file:
        file.write(b"newer")
        during = path.read_bytes()

    assert during == b"older"
    assert path.read_bytes() == b"newer"
    assert list(tmp_path.iterdir()) == [path]


def test_report_that_is_cut_short_leaves_no_file(tmp_path: Path) -> None:
    """Ctrl-C, an error of the database."""

    def write() -> None:
        with to_file(tmp_path / "moves.csv") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["missing/moves.csv", "."])
def test_file_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    """In one line that names it."""
    with pytest.raises(UsageError, match="--output"), to_file(tmp_path / name):
        pass


def test_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """So is a device: as root, `--output /dev/null` would leave a file there instead."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with to_file(path) as file:
            file.write(b"a report")
        told = os.read(reader, 100)
    finally:
        os.close(reader)

    assert (told, path.is_fifo()) == (b"a report", True)
    assert list(tmp_path.iterdir()) == [path]


def test_link_leads_where_it_led(tmp_path: Path) -> None:
    """The file behind it is the one that gets its name when it is whole."""
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "moves.csv", tmp_path / "newest.csv"
    target.write_bytes(b"older")
    link.symlink_to(target)
    with to_file(link) as file:
        file.write(b"newer")
        during = target.read_bytes()

    assert (during, target.read_bytes()) == (b"older", b"newer")
    assert link.readlink() == target
    assert list(target.parent.iterdir()) == [target]


def test_compressed_report_is_gzip_and_the_same_each_time() -> None:
    """No time of day in it: equal reports compare equal."""
    packed = []
    for _ in range(2):
        out = io.BytesIO()
        with gzipped(out) as writer:
            writer.write(b"a" * 1000)
            writer.write(b"b")
        packed.append(out.getvalue())

    assert gzip.decompress(packed[0]) == b"a" * 1000 + b"b"
    assert packed[0] == packed[1]


def test_compressed_report_that_is_cut_short_does_not_unpack() -> None:
    """On standard output nothing else tells a reader."""
    out = io.BytesIO()

    def write() -> None:
        with gzipped(out) as writer:
            writer.write(b"a" * 1000)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    with pytest.raises(EOFError):
        gzip.decompress(out.getvalue())
