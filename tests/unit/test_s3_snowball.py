"""A snowball: the tar file that MinIO takes apart, as another reader of such files sees it."""

from __future__ import annotations

import io
import tarfile

import pytest

from app.object_store import Packed
from app.s3_snowball import etag_of, is_packable, is_plain, pack

HEADERS = {"content-type": "image/png", "x-amz-meta-owner": "a=b c"}
KEYS = ["clients/7/assets/1.png", "clients/7/assets/caf\u00e9 2.png", f"clients/7/{120 * 'n'}.png", "x"]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 4096])
def test_each_object_is_a_member_with_its_headers(size: int) -> None:
    """Whatever its name, and whatever stands before it; a time of 0 is the store's own."""
    packed = [Packed(key, bytes([number]) * size, {**HEADERS, "x-amz-meta-n": str(number)}) for number, key in enumerate(KEYS)]
    with tarfile.open(fileobj=io.BytesIO(pack(packed)), mode="r:") as archive:
        members = archive.getmembers()
        bodies = [file.read() for member in members if (file := archive.extractfile(member)) is not None]

    assert [member.name for member in members] == KEYS
    assert bodies == [one.body for one in packed]
    assert {member.mtime for member in members} == {0}
    for member, one in zip(members, packed, strict=True):
        named = {name.removeprefix("minio.metadata."): value for name, value in member.pax_headers.items() if name != "path"}
        assert named == one.headers


def test_objects_that_are_alike_have_headers_of_their_own() -> None:
    """What is kept of one is for objects with the very same headers."""
    packed = [Packed(f"k{number}", b"", {"content-type": kind}) for number, kind in enumerate(["a/b", "c/d", "a/b"])]
    with tarfile.open(fileobj=io.BytesIO(pack(packed)), mode="r:") as archive:
        assert [member.pax_headers["minio.metadata.content-type"] for member in archive] == ["a/b", "c/d", "a/b"]


def test_etag_is_the_md5() -> None:
    """Of what is sent: the store tells none."""
    assert etag_of(Packed("k", b"hello", {})) == "5d41402abc4b2a76b9719d911017c592"


@pytest.mark.parametrize("key", ["a/b.png", "caf\u00e9/1 2.png", "a.b/..c", 120 * "n"])
def test_key_that_stays_as_it_is_goes(key: str) -> None:
    """Cleaning the path changes nothing."""
    assert is_packable(key)


@pytest.mark.parametrize("key", ["/a", "a/", "a//b", "a/./b", "a/../b", "..", "a\\b", "a\nb", "a\x00b", " a", ""])
def test_key_that_would_become_another_one_does_not(key: str) -> None:
    """It is copied alone."""
    assert not is_packable(key)


@pytest.mark.parametrize(("value", "plain"), [("attachment", True), ("gr\u00fcn", False)])
def test_header_of_more_than_ascii_does_not_go(value: str, plain: bool) -> None:  # noqa: FBT001 - a table
    """Its bytes, which headers show as Latin-1, would arrive as others."""
    assert is_plain({"content-disposition": value}) is plain
