"""Keeps a worker of a hundred threads small: glibc else keeps what objects of a few MiB took, once for each of its arenas."""

from __future__ import annotations

import ctypes
from contextlib import suppress

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # <malloc.h>
LARGE_BYTES = 128 * 1024  # glibc's own first value, which it raises to the size of whatever is freed; bodies above go back at once
ARENAS = 2


def return_large_blocks() -> None:
    """Have freed bodies go back to the system; does nothing where the C library is another."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        libc.mallopt(M_ARENA_MAX, ARENAS)
