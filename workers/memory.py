"""Keeps a worker of a hundred threads small, and its collector of garbage out of the way of batches of a thousand moves."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # <malloc.h>
LARGE_BYTES = 128 * 1024  # glibc's own first value, which it raises to the size of whatever is freed; bodies above go back at once
ARENAS = 2


# A claim of a thousand moves makes tens of thousands of objects, none in a cycle; at Python's own threshold of 700 each was walked
# through dozens of times while it was made. The modules (some 200,000 objects) are not looked through at all.
GARBAGE = (20_000, 20, 20)


def collect_less_often() -> None:
    """Look for garbage in cycles more rarely, and only in what came after the start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)


def return_large_blocks() -> None:
    """Have freed bodies go back to the system, which glibc else keeps for each of its arenas; does nothing with another C library."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        libc.mallopt(M_ARENA_MAX, ARENAS)
