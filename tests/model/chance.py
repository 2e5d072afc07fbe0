"""What the product leaves to chance, made the same each time: tokens by whose turn it is, waits without jitter."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest.mock import patch

from app.ledger import leases, uploads
from app.stages import context, runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Tokens:
    """Stands for the module ``secrets``: tokens are counted for each party, so that they do not depend on the others' calls."""

    def __init__(self, whose: Callable[[], str]) -> None:
        self._whose = whose
        self._made: Counter[str] = Counter()

    def token_hex(self, _bytes: int) -> str:
        """The party's next token."""
        who = self._whose()
        self._made[who] += 1
        return f"{who}-{self._made[who]}"[-16:]

    def forget(self) -> None:
        """Begin anew."""
        self._made.clear()


class _Middle:
    """Stands for the module ``random``."""

    @staticmethod
    def random() -> float:
        return 0.5


@dataclass(frozen=True, slots=True)
class _Sleep:
    """Stands for the module ``time``."""

    sleep: Callable[[float], object]


@contextmanager
def no_chance(tokens: Tokens, *, sleep: Callable[[float], object]) -> Iterator[None]:
    """Within the block nothing is left to chance, and nobody sleeps but by *sleep*."""
    with ExitStack() as patches:
        patches.enter_context(patch.object(leases, "secrets", tokens))
        patches.enter_context(patch.object(uploads, "secrets", tokens))
        patches.enter_context(patch.object(runner, "secrets", tokens))
        patches.enter_context(patch.object(runner, "random", _Middle))
        patches.enter_context(patch.object(runner, "time", _Sleep(sleep)))
        patches.enter_context(patch.object(context, "_JITTER", None))
        yield
