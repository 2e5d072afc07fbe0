"""Which rows a run takes, and in which steps it comes to them: one row, one client's, a sample, then all. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from app.errors import UsageError

MILLION = 1_000_000
SAMPLE = 10_000  # of a million: what a ladder tries after one client
_PER_CENT = re.compile(r"(\d{1,3}(?:\.\d{1,4})?) ?%?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The rows that one step takes, of those that the run's WHERE selects; a row is moved once, in the first step that takes it."""

    limit: int | None = None  # so many that need a move, in the order of their ids
    clients: tuple[str, ...] = ()  # of these alone
    one_client: bool = False  # of the client whose row the step before has moved; named when the step begins
    sample: int | None = None  # so many of a million, chosen by their ids

    def __str__(self) -> str:
        """In words."""
        if self.limit is not None:
            what = "1 row" if self.limit == 1 else f"{self.limit:,} rows"
        else:
            what = f"{self.sample * 100 / MILLION:g} % of the rows" if self.sample is not None else "all rows"
        if self.one_client and not self.clients:
            return "one client"
        named = ", ".join(self.clients)
        return f"{what} of client{'s' * (len(self.clients) > 1)} {named}" if named else what

    @property
    def is_all(self) -> bool:
        """Whether it takes every row."""
        return self == Step()

    @property
    def is_nobodys(self) -> bool:
        """Whether it is for one client, and the step before has moved nobody's row: it takes none then."""
        return self.one_client and not self.clients

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> Step:
        """From what the ledger has."""
        return cls(**{**values, "clients": tuple(values["clients"])})

    def to_record(self) -> dict[str, Any]:
        """As the ledger keeps it."""
        return asdict(self)

    def named(self, client: str | None) -> Step:
        """This step, for the client that it is to take; the same where that is known, or is not asked for."""
        return replace(self, clients=(client,)) if self.one_client and client is not None else self


def steps_of(step: Step, *, ladder: bool) -> tuple[Step, ...]:
    """The steps of a run over the rows of *step*: that alone, or up a ladder to it.

    Raises:
        UsageError: There is no ladder to it.
    """
    if not ladder:
        return (step,)
    if step.limit is not None:
        raise UsageError("--ladder ends with all rows that --where, --client and --sample choose: leave --limit out")
    share = SAMPLE if step.sample is None else min(step.sample, SAMPLE)
    found = (replace(step, limit=1), replace(step, one_client=True, clients=()), replace(step, sample=share), step)
    return tuple(
        each for number, each in enumerate(found) if each not in found[:number] and not (each.one_client and len(step.clients) == 1)
    )


def share_of(text: str) -> int:
    """How many of a million *text* means, which is in per cent: ``1%``, ``0.5 %``.

    Raises:
        UsageError: It is no share.
    """
    found = _PER_CENT.fullmatch(text.strip())
    share = round(float(found[1]) * MILLION / 100) if found else 0
    if not 0 < share <= MILLION:
        raise UsageError(f"--sample {text}: give a share in per cent from 0.0001% to 100%")
    return share


def in_sample(row_id: str, *, share: int) -> bool:
    """Whether a row is one of *share* in a million: by its id alone, so each time, and in every larger share too."""
    return int.from_bytes(hashlib.blake2b(row_id.encode(), digest_size=8).digest(), "big") % MILLION < share


def sampled(row_ids: Sequence[str], *, share: int) -> list[str]:
    """Those of *row_ids* that are in the sample."""
    return [row_id for row_id in row_ids if in_sample(row_id, share=share)]
