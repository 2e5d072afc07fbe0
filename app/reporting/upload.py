"""A report streamed into the bucket, below a prefix that no asset may have; an object that is there is never replaced."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable
from hashlib import md5
from typing import TypeVar

from app.backoff import delay
from app.errors import ConditionFailedError, MissingObjectError, TransientError, UsageError
from app.key_values import MAX_KEY_BYTES, MAX_SEGMENT_BYTES, RESERVED_PREFIX, has_bad_segment, is_utf8
from app.object_store import IfAbsent, ObjectAttributes, ObjectStore, Seconds

REPORT_PREFIX = f"{RESERVED_PREFIX}reports/"
PART_BYTES = 8 * 1024**2  # at least 5 MiB (S3)
PARTS_A_SIZE = 1000  # then parts become larger by PART_BYTES: 10,000 of them (S3) hold 430 GiB, and the last are 80 MiB in memory
TRIES = 5
_PATIENCE = Seconds(600.0)  # the request time-out ends each request sooner

_Result = TypeVar("_Result")


def report_key(run_id: str, name: str) -> str:
    """The key of the report that the operator calls *name*.

    Raises:
        UsageError: A store could not keep an object of that name.
    """
    key = f"{REPORT_PREFIX}{run_id}/{name}"
    segments_fit = all(len(segment.encode("utf-8", "replace")) <= MAX_SEGMENT_BYTES for segment in key.split("/"))
    if not is_utf8(name) or has_bad_segment(name) or not name.isprintable() or not segments_fit or len(key.encode()) > MAX_KEY_BYTES:
        raise UsageError(f"--to-bucket: {name!r} cannot be the name of an object: give one like moves.csv.gz")
    return key


class Upload:
    """Collects bytes into parts; small reports are one PUT. Memory is bounded by one part."""

    def __init__(self, store: ObjectStore, key: str, *, content_type: str, sleep: Callable[[float], None] = time.sleep) -> None:
        """Look whether the key is free, before hours of work.

        Raises:
            UsageError: An object has this key.
        """
        self._store = store
        self._key = key
        self._attributes = ObjectAttributes(headers={"content-type": content_type})
        self._sleep = sleep
        self._buffer = bytearray()
        self._etags: list[str] = []
        self._upload_id: str | None = None
        try:
            self._again(lambda: store.stat(key))
        except MissingObjectError:
            return
        raise UsageError(f"--to-bucket: there is an object {key!r} already, and it stays as it is: give another name")

    def write(self, data: bytes) -> int:
        """Take *data*; send a part when there is enough for one."""
        self._buffer += data
        while len(self._buffer) >= (size := self._part_bytes()):
            self._send(bytes(self._buffer[:size]))
            del self._buffer[:size]
        return len(data)

    def finish(self) -> None:
        """Make the object, which nobody sees before.

        Raises:
            UsageError: An object has got this key meanwhile.
            ObjectError, TransientError: The store did not take it.
        """
        try:
            if self._upload_id is None:
                self._put(bytes(self._buffer))
                return
            if self._buffer:
                self._send(bytes(self._buffer))
            condition = IfAbsent() if self._store.capabilities.complete_if_absent else None
            self._store.complete_upload(self._upload_id, self._key, self._etags, condition=condition, deadline=_PATIENCE)
            self._upload_id = None
        except ConditionFailedError as error:
            raise UsageError(
                f"--to-bucket: an object {self._key!r} has come meanwhile, and it stays as it is: give another name"
            ) from error

    def abandon(self) -> None:
        """Leave nothing behind in the bucket, as far as it answers."""
        upload_id, self._upload_id = self._upload_id, None
        if upload_id is not None:
            self._store.abort_upload(upload_id, self._key)

    def _part_bytes(self) -> int:
        return PART_BYTES * (1 + len(self._etags) // PARTS_A_SIZE)

    def _put(self, body: bytes) -> None:
        condition = IfAbsent() if self._store.capabilities.put_if_absent else None
        # A bucket whose objects are locked by default asks for the digest.
        digest = {"content-md5": b64encode(md5(body, usedforsecurity=False).digest()).decode()}
        attributes = ObjectAttributes(headers={**self._attributes.headers, **digest})
        self._store.put(self._key, body, attributes, condition=condition, deadline=_PATIENCE)

    def _send(self, body: bytes) -> None:
        if self._upload_id is None:
            self._upload_id = self._again(lambda: self._store.create_upload(self._key, self._attributes, deadline=_PATIENCE))
        upload_id, number = self._upload_id, len(self._etags) + 1
        self._etags.append(self._again(lambda: self._store.put_part(upload_id, self._key, number, body, deadline=_PATIENCE)))

    def _again(self, request: Callable[[], _Result]) -> _Result:
        """Send a request that may be repeated: a part of the same number takes the other's place."""
        for attempt in range(1, TRIES):
            try:
                return request()
            except TransientError:
                self._sleep(delay(attempt, base=1.0, cap=15.0, jitter=None))
        return request()
