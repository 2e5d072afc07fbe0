"""A webhook and a stage of the operator's own, both with the programs of docs/hooks.md as they stand there."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar

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


class Cdn(BaseHTTPRequestHandler):
    """Knows which paths it was asked to forget; fails on the first ones."""

    purged: ClassVar[list[str]] = []
    failures = 2

    def do_PURGE(self) -> None:
        """One request."""
        if Cdn.failures:
            Cdn.failures -= 1
            self.send_error(500)
            return
        Cdn.purged.append(self.path.lstrip("/"))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def examples() -> list[str]:
    """The programs on the page, as they stand there."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs/hooks.md").read_text(encoding="utf-8"), re.DOTALL)


@contextmanager
def example(folder: Path) -> Iterator[tuple[int, Path]]:
    """The receiver of the page, started as it stands there; its port, and what it writes down."""
    code = examples()[0]
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    environ = {**os.environ, "WEBHOOK_PORT": str(port), "WEBHOOK_SECRET": SECRET}
    receiver = subprocess.Popen([sys.executable, "-c", code], env=environ, cwd=folder, stderr=subprocess.DEVNULL)
    try:
        yield port, folder / "events.txt"
    finally:
        receiver.kill()
        receiver.wait()


@contextmanager
def cdn(folder: Path) -> Iterator[dict[str, str]]:
    """A CDN, and the settings by which the function of the page purges it."""
    (folder / "my_hooks.py").write_text(examples()[1], encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Cdn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {
        "CDN": f"http://127.0.0.1:{server.server_port}",
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "REKEY_AFTER_SWITCH": "my_hooks:purge",
        "REKEY_DELETES_WAIT": "true",
    }
    server.shutdown()
    server.server_close()


@pytest.mark.timeout(400)
def test_webhook_is_told_and_its_silence_stops_nothing(deployment: Deployment, tmp_path: Path) -> None:
    """Start, a rest, shares and the end, signed, once each; then nobody is there, and a run ends all the same.

    That run has a stage of the operator's own, which fails at first: deletes wait for it, each asset is seen, and its worker is counted.
    """
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
    with cdn(tmp_path) as own, deployment.workers(name="alone", **hook, **own) as workers:
        later, at = deployment.service()
        others = later.fill(ASSETS)
        ended = deployment.rekey("enqueue", "--watch", "--json", seconds=200, **at, **own)
        samples = deployment.rekey("metrics", "--json", **at).report["samples"]
        said += workers.output()

    assert told[0].startswith("start "), "its first tick may come after the first row was moved"
    assert told[1].startswith("stall paused 1 of 1, step 1 of 4 (1 row) is over")
    assert "`rekey resume` begins step 2" in told[1]
    assert told[-1] == f"end finished {ASSETS} of {ASSETS}, None"
    assert {line.partition(" ")[0] for line in told[2:-1]} <= {"threshold"}
    assert len(set(told)) == len(told)
    assert service.differences(assets) == []
    assert (ended.status, ended.report["deleted"]) == (0, ASSETS)
    assert set(Cdn.purged) == {asset.old_key for asset in others}
    assert Cdn.failures == 0
    assert [each["value"] for each in samples if each["name"] == "rekey_workers" and each["labels"]["queue"] == "own"] == [1]
    assert STAYS not in said
    assert SECRET not in said


def _told(events: Path) -> str:
    return events.read_text(encoding="utf-8") if events.exists() else ""


def _until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < end
        time.sleep(0.2)
