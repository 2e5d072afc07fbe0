"""The whole stack of docker-compose.yml at work, where there is an engine. One stack, so the tests build on each other in their order."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.engine import FILLED, ROOT, build_image
from tests.integration.browser import browse
from tests.integration.processes import wait_until
from tests.integration.stack import MORE, RECOUNT, SERVERS, STAGES, Page, Stack

pytestmark = pytest.mark.timeout(1300)  # the image is built, and the whole stack comes up

UP = "docker compose --profile demo up --detach --wait --wait-timeout 280"
SAMPLES = 500
TRANSCRIPT = ROOT / "docs" / "containers-transcript.md"
TITLE = """# From `docker compose up` to the recount, with deaths in the middle

Typed by `tests/integration/test_stack.py`, here on two cores; `REWRITE_TRANSCRIPT=1` writes this page anew.
The `.env` is that of [containers.md](containers.md), with a grace of two seconds and leases of six, so that it need not take long."""
COPIED = re.compile(r"copy-(\d) .*Task copy_objects.*copied")  # Compose puts an escape sequence before each line
BATCHES = "docker compose logs --no-color copy | grep -o 'copy-[0-9] .*Task copy_objects.*copied' | cut -d ' ' -f 1 | sort | uniq -c"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack, built and not yet started."""
    build_image()
    made = Stack(tmp_path_factory.mktemp("secrets"))
    try:
        yield made
    finally:
        made.ask("docker compose --profile run --profile own --profile demo down --volumes --remove-orphans")


def test_run_outlives_scaling_a_kill_and_a_restart_of_all(stack: Stack, tmp_path: Path) -> None:
    """From nothing to a finished run: four workers share it, one of them is killed, all are taken away and come back; nothing is lost."""
    page = Page(stack)
    page.say("From nothing to all healthy, and 500 examples in table and bucket:")
    page.type(UP, quiet=True)
    healthy = dict.fromkeys((*STAGES, *SERVERS, "beat", "flower", "metrics"), "healthy")
    assert stack.states() == healthy | {"init": "exited 0", "example": "exited 0"}
    page.type(RECOUNT)

    page.say("A run, bounded so that there is a middle on any machine, in small batches; three more copy workers come while it goes:")
    watching = "docker compose run --rm enqueue --watch --copy-rate 1 --batch-size 2"
    with stack.begin(watching) as watch:
        stack.wait_for(4)
        page.type("docker compose up --detach --no-recreate --scale copy=4 copy", quiet=True)
        wait_until(lambda: len(set(COPIED.findall(stack("docker compose logs --no-color copy")))) == 4, seconds=240, told=stack.told)

        page.say(
            "One of the four is killed, with what it had in hand. The others go on; its moves are taken up when its lease has run out:"
        )
        page.type("docker kill --signal KILL rekey-test-copy-2")
        at_kill = stack.wait_for(0)
        stack.wait_for(at_kill + 8)
        page.type("docker compose ps --all copy --format 'table {{.Name}}\t{{.Status}}'")
        shared = page.type(BATCHES)

        watch.send_signal(signal.SIGINT)  # Ctrl-C
        watched = watch.communicate(timeout=60)[0]
    page.say("Ctrl-C ends the watching. What it had said:")
    page.note(watching, watched)

    page.say("In the middle of the run all is taken away, and comes back:")
    page.type("docker compose down", quiet=True)
    page.type(UP, quiet=True)
    before = stack.wait_for(0)
    page.type("docker compose run --rm rekey set copy_rate=0")
    page.type("docker compose run --rm rekey status --watch")
    page.say("Counted again: by the product from table, bucket and ledger, and by a script that knows nothing of it:")
    verified = page.type("docker compose run --rm rekey verify --run last")
    recounted = page.type(RECOUNT)
    after = stack.status()
    (tmp_path / TRANSCRIPT.name).write_text(page.text(TITLE), encoding="utf-8")
    if os.environ.get("REWRITE_TRANSCRIPT"):
        shutil.copy(tmp_path / TRANSCRIPT.name, TRANSCRIPT)

    assert {line.split()[1] for line in shared.splitlines()} == {"copy-1", "copy-2", "copy-3", "copy-4"}
    assert 0 < at_kill < before < SAMPLES
    assert (after["state"], after["rows"], after["deleted"], after["parked"]) == ("finished", SAMPLES, SAMPLES, 0)
    assert "no faults" in verified
    assert [int(line.split()[0]) for line in recounted.splitlines()] == [SAMPLES, SAMPLES, 0, 0]


def test_stack_shows_metrics_and_flower_on_loopback(stack: Stack) -> None:
    """The numbers of the run; the login out of its file."""
    numbers = requests.get(f"http://127.0.0.1:{stack.metrics}/metrics", timeout=30).text
    page = f"http://127.0.0.1:{stack.flower}/workers"

    assert re.search(rf'^rekey_moves\{{.*state="deleted".*\}} {SAMPLES}\.0$', numbers, flags=re.MULTILINE)
    assert requests.get(page, timeout=30).status_code == 401
    assert requests.get(page, timeout=30, auth=tuple(FILLED["FLOWER_BASIC_AUTH"].split(":"))).status_code == 200


def test_flower_in_a_browser_shows_the_workers_and_a_finished_chain(stack: Stack, tmp_path: Path) -> None:
    """Behind its login: each stage's worker; and found by the run, a task of each stage with its moves and its outcome.

    ``PICTURES=docs`` keeps what the browser saw for the README; look at it before you commit it.
    """
    stack(f"docker compose run --rm --no-deps --entrypoint python rekey - 501 540 <<'END'\n{MORE}\nEND")
    report = json.loads(stack("docker compose run --rm enqueue --watch --json").splitlines()[-1])
    site = f"http://{FILLED['FLOWER_BASIC_AUTH']}@127.0.0.1:{stack.flower}"
    chain = f"{site}/tasks?state=SUCCESS%20args:%22run%20{report['run'][:8]}%22"
    flags = ("--window-size=1920,826", "--virtual-time-budget=6000")

    workers, tasks = (browse(tmp_path, *flags, "--dump-dom", place) for place in (f"{site}/workers", chain))
    browse(tmp_path, *flags, f"--screenshot={tmp_path}/flower.png", chain)
    if os.environ.get("PICTURES"):
        shutil.copy(tmp_path / "flower.png", os.environ["PICTURES"])

    assert (report["state"], report["deleted"]) == ("finished", 40)
    assert [stage for stage in STAGES if not re.search(rf"{stage}@.*?Online", workers, flags=re.DOTALL)] == []
    rows = [re.sub(r"<.*?>", " ", row) for row in re.findall(r"<tr.*?</tr>", tasks, flags=re.DOTALL)]
    for task, done in {"copy_objects": "copied", "rename_keys": "renamed", "delete_objects": "deleted"}.items():
        told = re.compile(rf"{task}\s+SUCCESS\s+run {report['run'][:8]} · (\d+) moves from \d+\s+'\1 {done}'")
        assert [row for row in rows if told.search(html.unescape(row))], f"{task}: {rows}"
    assert "reconcile_moves" not in " ".join(rows)
    assert (tmp_path / "flower.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"REKEY_DATABASE_URL": "postgresql://rekey:wrong@postgres/rekey"}, 1, "REKEY_DATABASE_URL"),
        ({"REKEY_S3_SECRET_KEY": "wrong0word"}, 2, "REKEY_S3_SECRET_KEY"),
    ],
)
def test_wrong_password_ends_in_a_line_that_says_so(stack: Stack, given: dict[str, str], status: int, said: str) -> None:
    """And in no traceback."""
    flags = " ".join(f"--env {name}={value} --env {name}_FILE=" for name, value in given.items())

    answer = stack.ask(f"docker compose run --rm --no-deps {flags} enqueue")

    told = [line for line in answer.stderr.splitlines() if line.startswith("rekey: ")]
    assert (answer.returncode, len(told)) == (status, 1), answer.stderr
    assert said in told[0]
    assert "Traceback" not in answer.stderr


def test_redis_that_evicts_is_told_by_doctor(stack: Stack) -> None:
    """With what to do; our own does not."""
    redis = "docker compose exec redis redis-cli config set maxmemory-policy"
    stack(f"{redis} allkeys-lru")
    answer = stack.ask("docker compose run --rm --no-deps rekey doctor")
    stack(f"{redis} noeviction")

    assert re.search("maxmemory-policy is allkeys-lru: .*\n?.*CONFIG SET maxmemory-policy noeviction", answer.stdout), answer.stdout


def test_port_that_is_taken_is_named(stack: Stack) -> None:
    """By the engine; .env can name another."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        answer = stack.ask("docker compose up --detach --no-deps flower", FLOWER_HOST_PORT=str(port))

    assert answer.returncode != 0
    assert f"127.0.0.1:{port}" in answer.stderr
    stack("docker compose up --detach --no-deps --wait flower")


def test_stopped_stack_ends_well(stack: Stack) -> None:
    """Each of our containers hears the signal and exits with 0, none has to be killed."""
    ours = (*STAGES, "beat", "flower", "metrics")
    wait_until(lambda: stack.states()["copy"] == "healthy")

    stack(f"docker compose stop {' '.join(ours)}")

    assert {name: state for name, state in stack.states().items() if name in ours} == dict.fromkeys(ours, "exited 0")


def test_image_holds_no_compiler_and_runs_as_a_user(stack: Stack) -> None:
    """Nothing to build an exploit with, and no write access to the program."""
    look = "command -v gcc || command -v cc || command -v make; id -u; touch /opt/rekey/x 2>/dev/null && echo writable; true"

    assert stack(f"docker compose run --rm --no-deps --entrypoint sh rekey -c '{look}'").split() == ["10001"]
