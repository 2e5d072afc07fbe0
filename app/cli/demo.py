"""``rekey demo``: the whole of it at work on this machine, from nothing, with real files and live traffic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli import DONE, ERROR, FINDINGS
from app.cli.options import echo_json, json_flag
from app.cli.words import summary

if TYPE_CHECKING:
    from app.demo.run import Ending

ASSETS = 2000
SHOWN = 5  # lines of each kind of trouble


@click.command()
@click.option("--assets", type=click.IntRange(min=1), default=ASSETS, show_default=True, metavar="N", help="How many files.")
@click.option("--from", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Your own files instead of this environment's.")
@click.option("--with-problems", is_flag=True, help="Plant collisions, missing objects and odd names; ends with exit status 3.")
@click.option("--keep", is_flag=True, help="Keep the folder with the database, the objects and the logs.")
@json_flag
def demo(*, assets: int, folder: Path | None, with_problems: bool, keep: bool, as_json: bool) -> int:
    """Move real files under a live reader and a live writer, with private servers and workers; leaves nothing behind.

    Exit status: 0 all moved, no read failed and no write was lost; 1 otherwise; 3 rows were parked; 130 Ctrl-C.
    """
    from app import install, logs  # noqa: PLC0415 - `rekey demo --help` needs none of this
    from app.demo.run import demonstrate  # noqa: PLC0415
    from app.demo.screen import Screen  # noqa: PLC0415
    from app.demo.stock import Wish  # noqa: PLC0415
    from app.report import is_done  # noqa: PLC0415

    install.check()
    logs.setup("text", level="error")
    with Screen() as screen:
        ending = demonstrate(Wish(assets=assets, folder=folder, with_problems=with_problems, keep=keep), screen)
    if as_json:
        echo_json(as_object(ending))
    else:
        click.echo("\n".join(as_lines(ending)))
    if not ending.is_sound:
        return ERROR
    return DONE if is_done(ending.report) else FINDINGS


def as_object(ending: Ending) -> dict[str, Any]:
    """The ending for ``--json``."""
    return ending.report | {
        "reads": ending.reads,
        "failed_reads": len(ending.failed_reads),
        "late_reads": ending.late_reads,
        "writes": sum(ending.writes.values()),
        "failed_writes": len(ending.failed_writes),
        "lost_writes": len(ending.recount.lost_writes),
        "recount": {
            "rows": ending.recount.rows,
            "objects": ending.recount.objects,
            "renamed": ending.recount.switched,
            "deleted": ending.recount.deleted,
            "left": ending.recount.left,
            "wrong": len(ending.wrong),
        },
    }


def as_lines(ending: Ending) -> list[str]:
    """The ending for a person: the article's summary, what reader and writer saw, and the recount."""
    counted = ending.recount
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(ending.writes.items()))
    lines = [
        summary(ending.report),
        *(f"      for example ({reason}) {example}" for reason, example in ending.examples.items()),
        f"  {'reads':<9} {ending.reads:>9}   {len(ending.failed_reads)} failed",
        f"  {'writes':<9} {sum(ending.writes.values()):>9}   {len(counted.lost_writes)} lost" + (f" ({kinds})" if kinds else ""),
        f"Recount: {counted.rows} rows, {counted.objects} objects: "
        + ("not as the service wrote them" if counted.lost_writes or ending.wrong else "all as the service wrote them"),
    ]
    if counted.left:
        lines.append(f"  objects that no row names, listed in the ledger: {counted.left}")
    if ending.late_reads:
        lines.append(
            f"  {ending.late_reads} reads got the version before, up to {ending.latest_seconds:.1f} s after a write that met the switch"
        )
    for title, found in (
        ("failed read", ending.failed_reads),
        ("failed write", ending.failed_writes),
        ("lost write", counted.lost_writes),
        ("wrong", ending.wrong),
    ):
        lines += [f"  {title}: {text}" for text in found[:SHOWN]]
        lines += [f"  {title}: {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return lines
