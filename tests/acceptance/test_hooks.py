"""A webhook, as docs/hooks.md has it: what it is told of a run that is paused half-way, and that its silence stops nothing."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.deployment import PATIENCE_SECONDS
from tests.integration.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.acceptance.deployment import Deployment

ASSETS = 9  # none of them in a sample of 1 %
SECRET = "a secret of the webhook's"
STAYS = "T0/B1/never-shown"  # in the address


@contextmanager
def example(folder: Path) -> Iterator[tuple[int, Path]]:
    """The receiver of the page, started as it stands there; its port, and what it writes down."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/hooks.md").read_text(encoding="utf-8"), re.DOTALL)
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    environ = {**os.environ, "WEBHOOK_PORT": str(port), "WEBHOOK_SECRET": SECRET}
    receiver = subprocess.Popen([sys.executable, "-c", code], env=environ, cwd=folder, stderr=subprocess.DEVNULL)
    try:
        yield port, folder / "events.txt"
    finally:
        receiver.kill()
        receiver.wait()


@pytest.mark.timeout(400)
def test_webhook_is_told_and_its_silence_stops_nothing(deployment: Deployment, tmp_path: Path) -> None:
    """Start, a rest, shares and the end, signed, once each; then nobody is there, and a run ends all the same."""
    service, named = deployment.service()
    assets = service.fill(ASSETS)
    secret = tmp_path / "secret"
    secret.write_text(SECRET, encoding="utf-8")
    with example(tmp_path) as (port, events):
        hook = {"REKEY_WEBHOOK_URL": f"http://127.0.0.1:{port}/{STAYS}", "REKEY_WEBHOOK_SECRET_FILE": str(secret)}
        with deployment.workers(**hook) as workers:
            deployment.rekey("enqueue", "--ladder", **named)
            _until(lambda: "stall" in _told(events))
            deployment.rekey("resume", **named)
            _until(lambda: "end finished" in _told(events))
            told = _told(events).splitlines()
            said = workers.output()
    with deployment.workers(name="alone", **hook) as workers:
        ended = deployment.rekey("enqueue", "--watch", "--json", seconds=200, **named)
        said += workers.output()

    assert told[0] == "start running 0 of 0, None"
    assert told[1].startswith("stall paused 1 of 1, step 1 of 4 (1 row) is over")
    assert "`rekey resume` begins step 2" in told[1]
    assert told[-1] == f"end finished {ASSETS} of {ASSETS}, None"
    assert {line.partition(" ")[0] for line in told[2:-1]} <= {"threshold"}
    assert len(set(told)) == len(told)
    assert (ended.status, ended.report["in_place"]) == (0, len(assets))
    assert STAYS not in said
    assert SECRET not in said


def _told(events: Path) -> str:
    return events.read_text(encoding="utf-8") if events.exists() else ""


def _until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < end
        time.sleep(0.2)
