"""The part of docs/safety.md that says what can still hurt, from the checker's own finds: ``python -m tests.model.page`` writes it anew."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.model.choices import Bounds
from tests.model.playing import parts, play
from tests.model.scenario import STORES
from tests.model.scenarios import BREAKING, BY_SCENARIO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.model.schedules import Found

PAGE = Path(__file__).parents[2] / "docs" / "safety.md"
BEGIN, END = "<!-- from here on written by `python -m tests.model.page` -->\n", "<!-- up to here -->\n"
BOUNDS = Bounds(preemptions=2, faults=1, together=2)
MOST, MOST_ON_ANY = 700, 1000  # schedules of a scenario on a store, and where two promises are broken
LAST_STEPS = 9  # of a story: from the last look on

_JOURNALLED, _PLAIN = re.compile(r"\.rekey/journal/\S+").sub, ".rekey/journal/<run>/<batch>.jsonl"  # a run's name is chance

Windows = dict[tuple[str, str], "Mapping[str, Found]"]  # by scenario and store


def windows(*, processes: int = 1) -> Windows:
    """What the scenarios find on which the application, or the store, breaks what is asked of it."""
    chosen = [
        part
        for scenario in BREAKING
        for part in parts([scenario.name], (), bounds=BOUNDS, most=MOST_ON_ANY if scenario.any_store else MOST)
    ]
    return {(each.name, each.store): each.report.windows for each in play(chosen, processes=processes)}


def written(found: Windows) -> str:
    """The part of the page."""
    lines = ["| schedule | what has to happen | what it costs | on | what closes it |", "|---|---|---|---|---|"]
    stories = []
    for scenario in BREAKING:
        stores = [store for store in STORES if found.get((scenario.name, store))]
        if not stores or scenario.window is None:
            continue
        where = "every store" if len(stores) == len(STORES) else "a store that ignores conditions (MinIO)"
        window = scenario.window
        lines.append(f"| `{scenario.name}` | {window.happens} | {window.costs} | {where} | {window.closes} |")
        finds = [each for store in stores for each in found[scenario.name, store].values()]
        shortest = min(finds, key=lambda each: (not each.message.startswith("S2"), len(each.choices)))  # lost bytes before lost rows
        stories += ["", f"`{scenario.name}` (breaks {scenario.breaks}), its end: {shortest.message}", "```", *_end(shortest), "```"]
    quiet = [f"`{scenario.name}`" for scenario in BREAKING if not any(found.get((scenario.name, store)) for store in STORES)]
    lines += ["", f"Where nothing is found: {', '.join(quiet)}."] if quiet else []
    return "\n".join([*lines, *stories, ""])


def _end(found: Found) -> list[str]:
    steps = [f"{name:<12} {_JOURNALLED(_PLAIN, what)}" for name, what in found.story if not what.startswith("SQL: read")]
    return steps[-LAST_STEPS:]


def of_page(text: str) -> str:
    """The part of the page as it is."""
    return text.partition(BEGIN)[2].partition(END)[0]


def main() -> int:
    """Write the part anew."""
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    PAGE.write_text(f"{head}{BEGIN}{written(windows(processes=0))}{END}{tail}")
    sys.stdout.write(f"{PAGE.name}: {len(BY_SCENARIO)} scenarios\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
