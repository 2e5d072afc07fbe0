"""Flower as this product starts it: on loopback and behind a login, unless the operator says otherwise.

Flower's own defaults are all addresses and no login. Its API stays closed without a login (401); ``/metrics`` and ``/healthcheck`` are open
by its design even with one: they show numbers and task names, no arguments.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

from app.errors import UsageError

OPEN_VARIABLE = "REKEY_FLOWER_OPEN"
DEFAULTS = {
    "FLOWER_ADDRESS": "127.0.0.1",
    "FLOWER_MAX_TASKS": "10000",  # some 80 MiB of memory; 100,000 by default
    "FLOWER_PURGE_OFFLINE_WORKERS": "3600",  # seconds after which a worker that is gone is forgotten
    "FLOWER_TASKS_COLUMNS": "name,state,args,result,received,started,runtime,worker,uuid",
}
_REMEDY = f"Flower would be open to everybody: set FLOWER_BASIC_AUTH=user:password (or {OPEN_VARIABLE}=1 where nobody else can reach it)"


def set_defaults(environ: MutableMapping[str, str]) -> None:
    """Set our defaults where the operator has set nothing; the secret may come from a file, as all of ours may.

    Raises:
        UsageError: That file cannot be read.
    """
    for name, value in DEFAULTS.items():
        environ.setdefault(name, value)
    secret_file = environ.get("FLOWER_BASIC_AUTH_FILE")
    if secret_file and not environ.get("FLOWER_BASIC_AUTH"):  # Compose passes on unset ones as empty
        try:
            environ["FLOWER_BASIC_AUTH"] = Path(secret_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UsageError(f"FLOWER_BASIC_AUTH_FILE cannot be read: {error.strerror}: {secret_file}") from error


def check() -> None:
    """See that Flower, whose options have been read by now, asks for a login.

    Raises:
        UsageError: It does not.
    """
    from tornado.options import options  # noqa: PLC0415 - only Flower needs Tornado

    refuse_open(basic_auth=options.basic_auth or [], oauth=options.auth, is_open=os.environ.get(OPEN_VARIABLE) == "1")


def refuse_open(*, basic_auth: list[str], oauth: str, is_open: bool) -> None:
    """Refuse a dashboard without a login that nobody asked to be open.

    Raises:
        UsageError: There is no login, or one that anybody can guess.
    """
    if any(not all(login.partition(":")[::2]) for login in basic_auth):
        raise UsageError('FLOWER_BASIC_AUTH must read "user:password" (several: separated by commas), neither of them empty')
    if not (basic_auth or oauth or is_open):
        raise UsageError(_REMEDY)
