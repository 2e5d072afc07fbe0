"""``python -m workers``: all stage workers and beat; ``python -m workers copy``: one of them; ``python -m workers health``: a check.

Options after a stage's name go to ``celery worker`` as they are: ``python -m workers copy -c 20``.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

_found = find_spec("app")
if _found is None or _found.origin is None or Path(_found.origin).resolve().parent.parent != Path(__file__).resolve().parent.parent:
    # Before any import of it: another ``app`` in the current folder goes before ours, and has none of what follows.
    sys.stderr.write("rekey: the package 'app' found is not this product's: start from a folder without an 'app' of its own\n")
    raise SystemExit(2)

from app import install  # noqa: E402 - see above
from app.errors import UsageError  # noqa: E402
from workers import health  # noqa: E402

USAGE = "usage: python -m workers [STAGE [celery worker options] | beat [celery beat options] | health [STAGE | beat]]"
_FOLLOW = "--follow"  # how the supervisor starts its children: with its process id


def main(args: Sequence[str]) -> int:
    """Do what *args* say and give the exit status."""
    try:
        install.check()
        if args[:1] == ["health"]:
            return _health(args[1:])
        if args[:1] == [_FOLLOW]:
            from workers.supervisor import follow  # noqa: PLC0415 - a health check needs none of this

            follow(int(args[1]))
            args = args[2:]
        if args and args[0] in {"-h", "--help"}:
            print(f"{__doc__}\n{USAGE}")  # noqa: T201 - what --help is for
            return 0
        return _run_one(args[0], args[1:]) if args else _run_all()
    except UsageError as error:
        sys.stderr.write(f"rekey: {error}\n")
        return 2


def _health(args: Sequence[str]) -> int:
    found = health.findings(*args[:1])
    print("\n".join(found) or "consuming")  # noqa: T201 - the check's answer
    return 1 if found else 0


def _run_one(name: str, options: Sequence[str]) -> int:
    """Become the Celery process of one stage, or beat, so that signals reach it directly."""
    from app.settings import load  # noqa: PLC0415 - a health check needs none of this
    from app.settings_table import REQUIRED  # noqa: PLC0415
    from workers import profiles  # noqa: PLC0415

    if name not in {*profiles.QUEUES, "beat"}:
        raise UsageError(f"there is no stage {name!r}; {USAGE}; the stages are {', '.join(profiles.QUEUES)}")
    settings = load(required=("broker_url",) if name == "beat" else REQUIRED)
    command = [*_celery_command(name, settings.log_level), *options]
    sys.stdout.flush()
    # A new interpreter, since a pool such as gevent must replace parts of the library before anything has imported them.
    os.execv(sys.executable, [sys.executable, "-m", *command])  # noqa: S606 - no shell wanted


def _celery_command(name: str, log_level: str) -> list[str]:
    level = ["-l", log_level.upper()]
    # Quick to start: nobody needs to know its neighbours, since revoking and clocks are not used.
    worker = ["worker", "-Q", name, "-n", f"{name}@%h", "--without-gossip", "--without-mingle", *level]
    return ["celery", "-A", "app", "-q", *(["beat", *level] if name == "beat" else worker)]


def _run_all() -> int:
    from app import logs, resources  # noqa: PLC0415 - a health check needs none of this
    from workers import profiles  # noqa: PLC0415
    from workers.supervisor import Child, Forked, Supervisor, import_for_children  # noqa: PLC0415

    settings = resources.settings()  # refused here once, instead of by each child
    logs.setup(settings.log_format, level=settings.log_level, secrets=settings.secrets)
    names = (*profiles.started(settings), "beat")
    logging.getLogger(__name__).info("starting %s", ", ".join(names), extra={"action": "worker_started"})
    import_for_children()
    try:
        return Supervisor([Child(name) for name in names]).run()
    except Forked as child:
        sys.argv = _celery_command(child.name, settings.log_level)
    return _become_celery()


def _become_celery() -> int:
    """Run ``celery`` as its own command does, in this process, and give its exit status."""
    from celery.bin.celery import main as celery  # noqa: PLC0415 - imported by the supervisor

    return int(celery() or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
