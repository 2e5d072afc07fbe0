"""``rekey doctor``: try each part, say in plain words what is wrong and how to mend it."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
from sqlalchemy import exc

from app import resources
from app.cli import DONE, ERROR, FINDINGS, starting
from app.cli.options import echo_json, json_flag, settings_flags
from app.doctor.broker import check_broker
from app.doctor.database import check_database
from app.doctor.fidelity import fidelity_lines
from app.doctor.findings import Finding, Level
from app.doctor.own_stage import check_own_stage
from app.doctor.store import check_store
from app.errors import RekeyError
from app.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.object_store import Capabilities
    from app.settings import Settings


@click.command()
@json_flag
@settings_flags(log_level="error")
def doctor(*, settings: Settings, as_json: bool) -> int:
    """Try database, broker and object store, and say what to mend. Only throw-away objects below .rekey/ folders are written.

    What the store honours is kept beside the ledger, for `rekey plan`. Exit status: 0 all is well, 3 something is to be mended, 1 a part
    could not be reached.
    """
    found, capabilities = examine(settings)
    if as_json:
        echo_json(as_object(found, capabilities))
    else:
        click.echo("\n".join([*as_lines(found), *(fidelity_lines(settings, capabilities) if capabilities else [])]))
    return exit_status(found)


def examine(settings: Settings) -> tuple[list[Finding], Capabilities | None]:
    """All findings, without secrets, and what the object store honours if it could be tried."""
    resources.configure(settings)
    store = resources.store_of(settings, None, pool_size=1)
    try:
        of_store, capabilities = check_store(settings, store)
    finally:
        store.close()
    of_database = check_database(settings)
    if capabilities is not None and all(finding.level is not Level.UNREACHABLE for finding in of_database):
        _keep(settings, capabilities)
    found = [*of_database, *check_broker(settings), *of_store, *check_own_stage(settings)]
    return [dataclasses.replace(finding, text=redact(finding.text, settings.secrets)) for finding in found], capabilities


def _keep(settings: Settings, capabilities: Capabilities) -> None:
    """For `rekey plan`, which tries nothing, where no run has seen more: a run begins with a probe of its own, that asks for more."""
    with suppress(RekeyError, exc.DBAPIError):  # no ledger yet, or it may not be written: then the plan does without
        resources.deployment()
        if starting.known_capabilities(settings) is None:
            starting.keep_probe(settings, capabilities, at=starting.LONG_AGO)


def exit_status(found: Iterable[Finding]) -> int:
    """1 if a part could not be reached, 3 if something is to be mended, else 0."""
    levels = {finding.level for finding in found}
    if Level.UNREACHABLE in levels:
        return ERROR
    return FINDINGS if Level.PROBLEM in levels else DONE


def as_object(found: Iterable[Finding], capabilities: Capabilities | None) -> dict[str, Any]:
    """The findings for ``--json``."""
    findings = [dataclasses.asdict(finding) for finding in found]
    return {
        "problems": sum(finding["level"] in {Level.PROBLEM, Level.UNREACHABLE} for finding in findings),
        "findings": findings,
        "capabilities": dataclasses.asdict(capabilities) if capabilities else None,
    }


def as_lines(found: Iterable[Finding]) -> list[str]:
    """The findings for a person, problems in capitals, the remedy below."""
    lines: list[str] = []
    for finding in found:
        bad = finding.level in {Level.PROBLEM, Level.UNREACHABLE}
        lines.append(f"{finding.part:<13}{finding.level.upper() if bad else finding.level:<12} {finding.text}")
        if finding.remedy:
            lines.append(f"{'':<26}-> {finding.remedy}")
    return lines
