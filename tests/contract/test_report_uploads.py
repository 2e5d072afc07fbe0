"""Reports and parts of a ledger in the bucket of each store: whole, and never over another object."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from app import archive
from app.errors import UsageError
from app.object_store import Seconds
from app.reporting.outputs import gzipped, to_bucket
from app.reporting.upload import PART_BYTES, Upload

if TYPE_CHECKING:
    from tests.contract.conftest import Subject

CHUNK = 1_000_003


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, 2 * PART_BYTES + 12_345])
def test_report_of_any_size_arrives_byte_for_byte(subject: Subject, size: int) -> None:
    """In one request, or in parts of which the last is smaller."""
    key = subject.key(".rekey/reports/moves é.csv")
    body = random.Random(size).randbytes(size)
    with to_bucket(Upload(subject.store, key, content_type="text/csv; charset=utf-8")) as writer:
        for first in range(0, size, CHUNK):
            writer.write(body[first : first + CHUNK])

    assert subject.application.get(key) == body
    with pytest.raises(UsageError, match="already"):
        Upload(subject.store, key, content_type="text/csv")


def test_large_report_does_not_replace_what_came_meanwhile(subject: Subject) -> None:
    """Where the store honours the condition, which is probed."""
    if not subject.store.capabilities.complete_if_absent:
        pytest.skip("this store does not honour If-None-Match on CompleteMultipartUpload")
    key = subject.key("moves.csv.gz")

    def write() -> None:
        with to_bucket(Upload(subject.store, key, content_type="text/csv")) as upload, gzipped(upload) as writer:
            writer.write(random.Random(1).randbytes(PART_BYTES + 1_000_000))
            subject.application.put(key, b"theirs")

    with pytest.raises(UsageError, match="has come meanwhile"):
        write()
    assert subject.application.get(key) == b"theirs"


def test_part_of_a_ledger_is_written_once_and_read_back(subject: Subject) -> None:
    """A second write of the same part finds it there; one that was overwritten is told."""
    key, part = subject.key(".rekey/ledger/run/000000000-a.jsonl.gz"), archive.Head(bucket="b", table="t", run="run", after=0, last=1)
    body = archive.pack(part, [{"id": 1, "old_key": "up/é.png", "old_hash": b"\x00\xff"}])
    for _ in range(2):
        archive.write(subject.store, key, body, deadline=Seconds(60.0))
    assert archive.read(subject.store, key) == (part, [{"id": 1, "old_key": "up/é.png", "old_hash": b"\x00\xff"}])
    subject.application.put(key, body[:-4])
    with pytest.raises(archive.ArchiveError, match="cut short"):
        archive.read(subject.store, key)
