"""For a service whose objects asset-rekey moves: read through a switch, and name new uploads as the moved ones are named.

This file needs nothing but Python 3.9 and may be copied into your service as it is; installed with asset-rekey it is the module
``asset_rekey_client``. With it in place a run needs no grace: a read that comes too late for the old key asks the row again.

    asset = read_asset(lambda: Asset.objects.values_list("object_key", flat=True).get(pk=pk), fetch)
    key = upload_key(client_id, file_name)
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

__all__ = ["DEFAULT_TEMPLATE", "bucket_of", "is_not_found", "read_asset", "read_asset_async", "upload_key"]

DEFAULT_TEMPLATE = "clients/{client_id}/assets/{file_name}"
MAX_KEY_BYTES = 1024  # of a whole key, UTF-8: S3's bound
MAX_SEGMENT_BYTES = 255  # between two slashes: MinIO and others keep segments as file names

T = TypeVar("T")
_FIELD = re.compile(r"\{([^{}]*)\}")
_NOT_FOUND = frozenset({404, "404", "NoSuchKey", "NotFound"})


def is_not_found(error: BaseException) -> bool:
    """Whether *error* says that there is no such object.

    django-storages raises FileNotFoundError, boto3 and aiobotocore a ClientError with the code ``404`` or ``NoSuchKey``, minio an S3Error
    with ``NoSuchKey``; urllib, requests and httpx know the status 404.
    """
    if isinstance(error, FileNotFoundError):
        return True
    response = getattr(error, "response", None)
    found = [getattr(error, "code", None), getattr(error, "status", None), getattr(response, "status_code", None)]
    if isinstance(response, Mapping):
        found.append(response.get("Error", {}).get("Code"))
    return any(isinstance(code, (int, str)) and code in _NOT_FOUND for code in found)


def read_asset(
    read_key: Callable[[], str | None], fetch: Callable[[str], T], *, not_found: Callable[[BaseException], bool] = is_not_found
) -> T:
    """What *fetch* gives for the key that the row holds; if no object is there, for the key that the row holds by then.

    Args:
        read_key: Reads the key from the row, anew at each call and from the primary: a replica, a cache or an object that your ORM loaded
            earlier may hold the old key for longer.
        fetch: Reads the object of a key as far as it can fail: a file that is opened lazily or a signed URL fails later, outside this call.
        not_found: Whether an exception of *fetch* says that the object is not there.

    Returns:
        What *fetch* returned.

    Raises:
        Exception: What *read_key* or *fetch* raised; also "not found", if the row holds the same key still, or the object of its new key is
            not there either.
    """
    key = _named(read_key())
    try:
        return fetch(key)
    except Exception as error:
        if not not_found(error):
            raise
        again = read_key()
        if again is None or again == key:
            raise
    return fetch(again)


async def read_asset_async(
    read_key: Callable[[], Awaitable[str | None]],
    fetch: Callable[[str], Awaitable[T]],
    *,
    not_found: Callable[[BaseException], bool] = is_not_found,
) -> T:
    """``read_asset`` for coroutines."""
    key = _named(await read_key())
    try:
        return await fetch(key)
    except Exception as error:
        if not not_found(error):
            raise
        again = await read_key()
        if again is None or again == key:
            raise
    return await fetch(again)


def upload_key(
    client_id: object, file_name: str, *, template: str = DEFAULT_TEMPLATE, columns: Mapping[str, object] | None = None, key: str = ""
) -> str:
    """The key of a new upload, in the form that asset-rekey gives to moved objects, so that a run finds it in place.

    Two uploads of one client with one file name get one key: make the name unique first, and upload with ``If-None-Match: *`` (boto3:
    ``IfNoneMatch="*"``), so that nothing that was moved there is overwritten.

    Args:
        client_id: The client; text or a whole number.
        file_name: One name, as it shall end the key.
        template: What REKEY_TEMPLATE says.
        columns: What ``{col.NAME}`` in the template stands for, by column name.
        key: What ``{key}`` in the template stands for: the key that the upload would have had before.

    Raises:
        ValueError: A value is empty, holds a slash, or is ``.`` or ``..``, the key would be too long, or the template has another field.
    """
    values: dict[str, object] = {"client_id": client_id, "file_name": file_name, "key": key}
    values.update({f"col.{name}": value for name, value in (columns or {}).items()})

    def fill(field: re.Match[str]) -> str:
        name = field[1]
        if name not in values:
            raise ValueError(f"the template has {{{name}}}, for which no value is given")
        return _whole(values[name], name) if name == "key" else _segment(values[name], name)

    new_key = _FIELD.sub(fill, template)
    if len(new_key.encode()) > MAX_KEY_BYTES or any(len(segment.encode()) > MAX_SEGMENT_BYTES for segment in new_key.split("/")):
        raise ValueError(f"the key is longer than {MAX_KEY_BYTES} bytes, or a part of it than {MAX_SEGMENT_BYTES}: {new_key[:60]!r}...")
    return new_key


def bucket_of(key: str, *, source: str, target: str, template: str = DEFAULT_TEMPLATE) -> str:
    """The bucket that holds the object of a row's key, where asset-rekey moves from one bucket into another (REKEY_TARGET_BUCKET).

    A key of the template's form, for whatever client, means an object of the target bucket, every other key one of the source bucket. Go
    by it for reading and for uploading alike, from before the first row is switched.

    Args:
        key: What the row holds.
        source: REKEY_S3_BUCKET.
        target: REKEY_TARGET_BUCKET.
        template: What REKEY_TEMPLATE says.
    """
    pieces = _FIELD.split(template)
    named = [(".+" if piece == "key" else "[^/]+") if number % 2 else re.escape(piece) for number, piece in enumerate(pieces)]
    whole = all(segment.strip() and segment not in {".", ".."} for segment in key.split("/"))
    return target if whole and re.fullmatch("".join(named), key, re.DOTALL) else source


def _named(key: str | None) -> str:
    if key is None:
        raise FileNotFoundError("the row names no object")
    return key


def _text(value: object, name: str) -> str:
    text = str(value) if isinstance(value, (int, uuid.UUID)) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        raise ValueError(f"{name} is neither text nor a whole number but {type(value).__name__}")  # noqa: TRY004 - one class for all
    if not text.strip() or "\0" in text:
        raise ValueError(f"{name} is empty, blank, or holds NUL: {text!r}")
    return text


def _segment(value: object, name: str) -> str:
    text = _text(value, name)
    if "/" in text or text in {".", ".."}:
        raise ValueError(f"{name} holds a slash, or is '.' or '..': {text!r}")
    return text


def _whole(value: object, name: str) -> str:
    text = _text(value, name)
    if any(not segment.strip() or segment in {".", ".."} for segment in text.split("/")):
        raise ValueError(f"{name} has an empty, blank, '.' or '..' segment: {text!r}")
    return text
