"""Where a report goes: standard output, a file, an object in the bucket. What is cut short never has the name of what is whole."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from app.errors import PermanentError, RekeyError, UsageError
from app.reporting.upload import Upload

GZIP_LEVEL = 4  # half the time of the usual 6 for a tenth more bytes
GZIP_FORMAT = 31  # zlib's word for gzip's header and check sum


class Writer(Protocol):
    """Takes the bytes of a report."""

    def write(self, data: bytes) -> int:
        """Take *data*."""


@contextmanager
def to_stdout() -> Iterator[Writer]:
    """Standard output."""
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


@contextmanager
def to_file(path: Path) -> Iterator[Writer]:
    """A file that has its name only once it is whole and on the disk; an older one is there until then.

    What is no file (a pipe, a device) is written to as it is, and a link leads where it led: neither is replaced.

    Raises:
        UsageError: There can be no such file.
        PermanentError: The disk is full, or the like.
    """
    if _is_device(path):
        with _to_device(path) as device:
            yield device
        return
    place, partial, file = _begin(path)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(place)
    except OSError as error:
        raise PermanentError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def try_file(path: Path) -> None:
    """See that there can be such a file before the work for it is done; nothing is left behind, and an older one stays as it is.

    Raises:
        UsageError: There can be none.
    """
    if _is_device(path):
        if not os.access(path, os.W_OK):
            raise UsageError(f"--output: {path} cannot be written: {os.strerror(errno.EACCES)}")
        return
    _, partial, file = _begin(path)
    file.close()
    partial.unlink()


def _is_device(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _begin(path: Path) -> tuple[Path, Path, BinaryIO]:
    """Where *path* leads, and a new file beside that, which gets its name later."""
    try:
        place = path.resolve() if path.is_symlink() else path
        partial = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
        if place.is_dir():
            raise UsageError(f"--output: {path} is a folder: name a file in it")
        return place, partial, partial.open("xb")
    except OSError as error:
        raise UsageError(f"--output: {path} cannot be written: {error.strerror}") from error


@contextmanager
def _to_device(path: Path) -> Iterator[Writer]:
    try:
        file = path.open("wb")
    except OSError as error:
        raise UsageError(f"--output: {path} cannot be written: {error.strerror}") from error
    try:
        with file:
            yield file
    except OSError as error:
        raise PermanentError(f"{path} could not be written: {error.strerror or error}") from error


@contextmanager
def to_bucket(upload: Upload) -> Iterator[Writer]:
    """An object of the bucket, there once it is whole."""
    try:
        yield upload
        upload.finish()
    except BaseException:
        with suppress(RekeyError):  # the first error is the one to tell; the store's own rules end what is left of an upload
            upload.abandon()
        raise


@contextmanager
def gzipped(inner: Writer) -> Iterator[Writer]:
    """Compress what goes to *inner*; equal reports give equal bytes, and one that is cut short lacks its end, so that gunzip says so."""
    packer = zlib.compressobj(GZIP_LEVEL, wbits=GZIP_FORMAT)
    yield _Packing(packer.compress, inner)
    inner.write(packer.flush())


class _Packing:
    def __init__(self, compress: Callable[[bytes], bytes], inner: Writer) -> None:
        self._compress, self._inner = compress, inner

    def write(self, data: bytes) -> int:
        """Take *data*."""
        self._inner.write(self._compress(data))
        return len(data)
