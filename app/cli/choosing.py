"""Which rows a run takes, as ``rekey enqueue`` is told: --limit, --client, --sample, and --ladder up to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from app.errors import UsageError
from app.ladder import Step, share_of, steps_of

MOST_ROWS = 10**15  # that --limit takes: a database's number ends somewhere
_FLAGS = (
    click.option("--limit", type=click.IntRange(1, MOST_ROWS), metavar="N", help="Move no more than N rows, in the order of their ids."),
    click.option("--client", "clients", multiple=True, metavar="ID", help="Move the rows of this client alone; may be given again."),
    click.option("--sample", metavar="SHARE", help="Move a sample of the rows, such as 1%: the same ones each time."),
    click.option("--ladder", is_flag=True, help="Go in steps: 1 row, one client, 1 %, then all; after each wait for `rekey resume`."),
    click.option("--auto", "is_auto", is_flag=True, help="With --ladder: go on after a step in which no row was parked."),
)


def choice_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags to a command."""
    for flag in reversed(_FLAGS):
        function = flag(function)
    return function


def chosen_steps(*, limit: int | None, clients: Sequence[str], sample: str | None, ladder: bool, is_auto: bool) -> tuple[Step, ...]:
    """The steps that the flags ask for; none for all rows at once.

    Raises:
        UsageError: They do not go together.
    """
    if is_auto and not ladder:
        raise UsageError("--auto goes with --ladder: a run without steps has nothing to wait for")
    share = None if sample is None else share_of(sample)
    steps = steps_of(Step(limit=limit, clients=tuple(dict.fromkeys(clients)), sample=share), ladder=ladder)
    return () if len(steps) == 1 and steps[0].is_all else steps
