"""The file that services copy: reads through a switch, and names uploads as the product names what it moves."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import urllib.error
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minio.error import S3Error

from app.client import asset_rekey_client as client
from app.client.asset_rekey_client import is_not_found, read_asset, read_asset_async, upload_key
from app.key_values import KeyRefusedError
from app.object_keys import Template


def keys(*each: str | None) -> Callable[[], str | None]:
    """A row that holds another key each time it is read."""
    left: Iterator[str | None] = iter(each)
    return lambda: next(left)


def store(**objects: bytes) -> Callable[[str], bytes]:
    """A bucket whose reader raises as django-storages does."""

    def fetch(key: str) -> bytes:
        if key not in objects:
            raise FileNotFoundError(key)
        return objects[key]

    return fetch


def test_read_takes_the_object_that_the_row_names() -> None:
    """One read of the row is enough while nothing moves."""
    assert read_asset(keys("old"), store(old=b"1")) == b"1"


def test_read_asks_the_row_again_when_its_object_has_moved() -> None:
    """The row was read before the switch, the object after the delete."""
    assert read_asset(keys("old", "new"), store(new=b"1")) == b"1"


@pytest.mark.parametrize("again", ["old", None])
def test_object_that_is_missing_stays_missing(again: str | None) -> None:
    """The row names the same key still, or none any more: nothing has moved."""
    with pytest.raises(FileNotFoundError, match="old"):
        read_asset(keys("old", again), store(new=b"1"))


def test_row_is_asked_again_once_only() -> None:
    """A row that names one missing object after the other does not hold its reader for ever."""
    with pytest.raises(FileNotFoundError, match="newer"):
        read_asset(keys("old", "newer", "newest"), store(newest=b"1"))


def test_other_failures_reach_the_caller_at_once() -> None:
    """A store that is down says nothing about the key."""

    def fetch(key: str) -> bytes:
        raise ConnectionError(key)

    with pytest.raises(ConnectionError, match="old"):
        read_asset(keys("old"), fetch)


def test_row_without_a_key_is_a_missing_asset() -> None:
    """NULL in the key column."""
    with pytest.raises(FileNotFoundError, match="names no object"):
        read_asset(keys(None), store())


def test_coroutines_read_likewise() -> None:
    """The same rule under asyncio."""
    rows, fetch = keys("old", "new"), store(new=b"1")

    async def row() -> str | None:
        return rows()

    async def get(key: str) -> bytes:
        return fetch(key)

    assert asyncio.run(read_asset_async(row, get)) == b"1"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FileNotFoundError("k"), True),
        (S3Error(SimpleNamespace(status=404), "NoSuchKey", "m", "r", "i", "h"), True),  # type: ignore[arg-type]
        (S3Error(SimpleNamespace(status=404), "NoSuchBucket", "m", "r", "i", "h"), False),  # type: ignore[arg-type]
        (S3Error(SimpleNamespace(status=403), "AccessDenied", "m", "r", "i", "h"), False),  # type: ignore[arg-type]
        (urllib.error.HTTPError("u", 404, "Not Found", Message(), io.BytesIO()), True),
        (urllib.error.HTTPError("u", 503, "Slow Down", Message(), io.BytesIO()), False),
        (ConnectionError("k"), False),
    ],
)
def test_missing_object_is_told_from_other_failures(error: BaseException, expected: bool) -> None:  # noqa: FBT001
    """By each library's own exceptions."""
    assert is_not_found(error) == expected


class BotoError(Exception):
    """As botocore's ClientError, which is no dependency of ours, keeps the reply."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


@pytest.mark.parametrize(("code", "expected"), [("404", True), ("NoSuchKey", True), ("403", False), ("SlowDown", False)])
def test_missing_object_is_told_by_botos_reply(code: str, expected: bool) -> None:  # noqa: FBT001
    """HEAD gives the bare number, GET the name."""
    assert is_not_found(BotoError(code)) == expected


values = st.one_of(st.text(max_size=300), st.integers(), st.uuids(), st.sampled_from(["", " ", ".", "..", "a/b", "x\0", "é" * 128]))


@given(client_id=values, file_name=values)
@pytest.mark.parametrize("template", [client.DEFAULT_TEMPLATE, "t/{client_id}/{col.kind}/{file_name}"])
def test_uploads_are_named_as_moved_assets_are(template: str, client_id: object, file_name: object) -> None:
    """The same key or a refusal by both, for any value; and a run finds the upload in place."""
    parsed = Template.parse(template, named=True)
    try:
        expected = parsed.new_key("old", client_id, file_name, {"kind": "logo"})
    except KeyRefusedError:
        with pytest.raises(ValueError, match=r"."):
            upload_key(client_id, file_name, template=template, columns={"kind": "logo"})  # type: ignore[arg-type]
        return
    made = upload_key(client_id, file_name, template=template, columns={"kind": "logo"})  # type: ignore[arg-type]

    assert made == expected
    assert parsed.is_in_place(made, client_id, {"kind": "logo"})


@pytest.mark.parametrize("old", ["a/b.png", "b.png"])
def test_template_of_whole_keys_takes_the_key_of_before(old: str) -> None:
    """``{key}`` stands for the key that the upload would have had."""
    expected = Template.parse("moved/{key}", named=False).new_key(old, 7, None, {})

    assert upload_key(7, "b.png", template="moved/{key}", key=old) == expected


@pytest.mark.parametrize("old", ["", "a//b", "../b", "/b"])
def test_key_that_could_climb_out_is_refused(old: str) -> None:
    """Nothing leaves the template's prefix."""
    with pytest.raises(ValueError, match="key"):
        upload_key(7, "b.png", template="moved/{key}", key=old)


def test_template_with_a_field_that_has_no_value_is_refused() -> None:
    """The line names the field."""
    with pytest.raises(ValueError, match=r"\{col\.kind\}"):
        upload_key(7, "b.png", template="t/{col.kind}/{file_name}")


def test_file_works_alone(tmp_path: Path) -> None:
    """Copied into a folder of its own it is imported without anything of ours, without installed packages even."""
    (tmp_path / "keys.py").write_bytes(Path(client.__file__).read_bytes())
    command = "import keys, sys; print(keys.upload_key(7, 'a.png')); assert 'app' not in sys.modules"

    done = subprocess.run([sys.executable, "-S", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout == "clients/7/assets/a.png\n"
