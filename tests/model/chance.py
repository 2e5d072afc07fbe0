"""What the product leaves to chance, made the same each time: tokens by whose turn it is, waits without jitter."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest.mock import patch

from app import journal
from app.ledger import canaries, leases, uploads, visits
from app.stages import crowd, outcomes, own_stage, runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Tokens:
    """Stands for the module ``secrets``: tokens are counted for each party, so that they do not depend on the others' calls."""

    def __init__(self, next_of: Callable[[], tuple[str, int]]) -> None:
        self._next_of = next_of

    def token_hex(self, _bytes: int) -> str:
        """The party's next token."""
        who, number = self._next_of()
        return f"{who}-{number}"[-16:]


class _Middle:
    """Stands for the module ``random``."""

    @staticmethod
    def random() -> float:
        return 0.5

    @staticmethod
    def sample(of: Sequence[int], wanted: int) -> list[int]:
        return list(of)[:wanted]


@dataclass(frozen=True, slots=True)
class _Time:
    """Stands for the module ``time``; nobody uses a processor."""

    sleep: Callable[[float], object]

    @staticmethod
    def process_time() -> float:
        return 0.0

    @staticmethod
    def monotonic() -> float:
        return 0.0


@contextmanager
def no_chance(tokens: Tokens, *, sleep: Callable[[float], object]) -> Iterator[None]:
    """Within the block nothing is left to chance, and nobody sleeps but by *sleep*."""
    with ExitStack() as patches:
        patches.enter_context(patch.object(leases, "secrets", tokens))
        patches.enter_context(patch.object(journal, "secrets", tokens))
        patches.enter_context(patch.object(canaries, "random", _Middle))
        patches.enter_context(patch.object(uploads, "secrets", tokens))
        patches.enter_context(patch.object(visits, "secrets", tokens))
        patches.enter_context(patch.object(runner, "secrets", tokens))
        patches.enter_context(patch.object(runner, "random", _Middle))
        patches.enter_context(patch.object(runner, "time", _Time(sleep)))
        patches.enter_context(patch.object(crowd, "time", _Time(sleep)))
        patches.enter_context(patch.object(outcomes, "_JITTER", None))
        patches.enter_context(patch.object(own_stage, "_JITTER", None))
        yield
