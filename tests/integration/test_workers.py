"""Real workers on a real Redis: profiles, refusals, stops, health, and a broker that comes and goes."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.processes import PREFIX, ROOT, Redis, environment, free_port, redis_server, run, running, wait_until

WORKER = ("celery", "-A", "app", "worker", "-l", "INFO", "--without-mingle", "--without-gossip")
SHORT = {"REKEY_VISIBILITY_TIMEOUT_SECONDS": "6", "REKEY_LEASE_SECONDS": "4", "REKEY_REQUEST_TIMEOUT_SECONDS": "2"}


@pytest.fixture
def broker() -> Iterator[Redis]:
    """A Redis of the test's own."""
    with redis_server() as server:
        yield server


@pytest.fixture
def environ(broker: Redis, tmp_path: Path) -> dict[str, str]:
    """A deployment on that Redis."""
    return environment(broker.url, tmp_path)


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children_of(pid: int) -> list[int]:
    """The direct children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def health(environ: dict[str, str], *stage: str) -> tuple[int, str]:
    """Exit status and first line of ``python -m workers health``."""
    answer = run("workers", "health", *stage, environ=environ)
    return answer.returncode, answer.stdout.splitlines()[0]


# Profiles: what a plain worker takes


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (("-Q", "rename"), ("concurrency: 10 (thread)", "worker rename@", "consumes rename, 10")),
        (("-Q", "copy", "-c", "3"), ("concurrency: 3 (thread)", "worker copy@", "consumes copy, 3")),
        (("-Q", "copy", "-P", "prefork", "-c", "2"), ("concurrency: 2 (prefork)", "worker copy@", "consumes copy, 2")),
        (("-Q", "copy", "-P", "solo"), ("(solo)", "worker copy@", "consumes copy")),
        (("-n", "mine@here"), ("concurrency: 100 (thread)", "worker mine@here", "consumes seed, copy, rename, delete, 100")),
    ],
)
def test_plain_worker_takes_its_stage_s_profile_unless_told_otherwise(
    options: tuple[str, ...], shown: tuple[str, ...], environ: dict[str, str], tmp_path: Path
) -> None:
    """Pool, concurrency and name come from the queues; -P, -c and -n win."""
    with running(*WORKER, *options, environ=environ, folder=tmp_path) as worker:
        worker.wait_for(" ready.")

        assert [words for words in shown if words not in worker.output()] == []


def test_worker_takes_messages_of_its_own_deployment_only(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """Two prefixes on one Redis: neither sees the other's messages (case 44)."""
    with running(*WORKER, "-Q", "copy", "-I", "probes", environ=environ | {"REKEY_QUEUE_PREFIX": "blue:"}, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        broker.send("quick", 1)
        time.sleep(2)

        assert broker.waiting() == 1
        assert "received" not in worker.output()


def test_work_leaves_no_result_keys(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """After the work Redis holds bindings only: no results, no unacknowledged messages (case 45)."""
    with running(*WORKER, "-Q", "copy", "-I", "probes", environ=environ, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        for number in range(20):
            broker.send("quick", number)
        worker.wait_for("succeeded", times=20)
        wait_until(lambda: broker.unacknowledged() == 0)

        left = {key.decode() for key in broker.client.scan_iter()}
    assert {key for key in left if not key.startswith(f"{PREFIX}_kombu.binding")} == set()


# Refusals: one line, exit status 2


@pytest.mark.parametrize(
    "command",
    [
        (*WORKER, "-Q", "copy"),
        ("celery", "-A", "app", "beat"),
        ("celery", "-A", "app", "flower"),
        ("celery", "-A", "app", "inspect", "ping"),
        ("workers",),
        ("workers", "copy"),
        ("workers", "beat"),
    ],
)
def test_bad_setting_is_refused_in_one_line(command: tuple[str, ...], environ: dict[str, str]) -> None:
    """Whichever way a process is started."""
    refused = run(*command, environ=environ | {"REKEY_VISIBILITY_TIMEOUT_SECONDS": "10"})

    assert refused.returncode == 2
    why = "a message must not come back while its batch is leased"
    assert refused.stderr == f"rekey: REKEY_LEASE_SECONDS (30) must be below REKEY_VISIBILITY_TIMEOUT_SECONDS (10): {why}\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [((*WORKER, "-Q", "copy,cpoy"), "no such queue: cpoy"), (("workers", "cpoy"), "there is no stage 'cpoy'")],
)
def test_unknown_stage_is_refused_in_one_line(command: tuple[str, ...], words: str, environ: dict[str, str]) -> None:
    """A misspelt queue would wait for messages that never come."""
    refused = run(*command, environ=environ)

    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert words in refused.stderr
    assert "seed, copy, rename, delete" in refused.stderr


@pytest.mark.parametrize("name", ["CELERY_BROKER_URL", "BROKER_URL"])
def test_a_service_s_own_broker_is_refused(name: str, environ: dict[str, str]) -> None:
    """Celery would take it for ours without a word."""
    refused = run(*WORKER, "-Q", "copy", environ=environ | {name: "amqp://service.test"})

    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "REKEY_BROKER_URL" in refused.stderr


@pytest.mark.parametrize(
    ("package", "command"),
    [
        ("tasks", (*WORKER, "-Q", "copy")),
        ("tasks", ("celery", "-A", "app", "beat")),
        ("workers", (*WORKER, "-Q", "copy")),
        ("tasks", ("workers", "copy")),
        ("tasks", ("workers",)),
    ],
)
def test_foreign_package_in_the_current_folder_is_refused(
    package: str, command: tuple[str, ...], environ: dict[str, str], tmp_path: Path
) -> None:
    """A service with a ``tasks`` of its own: the worker would discard our messages as unknown."""
    service = tmp_path / "service"
    (service / package).mkdir(parents=True)
    (service / package / "__init__.py").touch()

    refused = run(*command, environ=environ, cwd=service)

    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert f"the package {package!r} found is not this product's" in refused.stderr


def test_beat_needs_no_secrets_of_the_stages(environ: dict[str, str], tmp_path: Path) -> None:
    """It starts with the broker alone."""
    bare = {name: value for name, value in environ.items() if not name.startswith(("REKEY_S3", "REKEY_DATABASE", "REKEY_TABLE"))}
    with running("celery", "-A", "app", "beat", "-l", "INFO", environ=bare, folder=tmp_path) as beat:
        beat.wait_for("Sending due task reconcile_moves")


# Stops


@pytest.mark.parametrize("pool", [(), ("-P", "prefork", "-c", "2")])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_first_signal_lets_tasks_hand_back_their_work(
    pool: tuple[str, ...], signum: int, broker: Redis, environ: dict[str, str], tmp_path: Path
) -> None:
    """The tasks hear of it between two requests, and their messages are acknowledged."""
    with running(*WORKER, "-Q", "copy", "-I", "probes", *pool, environ=environ, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        broker.send("patient", 1)
        worker.wait_for("patient begins")
        started = time.monotonic()

        worker.send_signal(signum)
        worker.wait(seconds=15)

        assert time.monotonic() - started < 10
        assert "handed back" in worker.output()
        assert "worker stopped" in worker.output()
    assert (broker.waiting(), broker.unacknowledged()) == (0, 0)


def test_messages_not_begun_stay_on_the_broker(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """A stop loses none, begun or not."""
    with running(*WORKER, "-Q", "copy", "-c", "2", "-I", "probes", environ=environ, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        for number in range(5):
            broker.send("patient", number)
        worker.wait_for("patient begins", times=2)

        worker.send_signal(signal.SIGTERM)
        worker.wait(seconds=15)

    assert (broker.waiting(), broker.unacknowledged()) == (3, 0)


def test_remote_shutdown_lets_tasks_hand_back_their_work(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """``celery control shutdown`` sends no signal, and is a stop all the same."""
    with running(*WORKER, "-Q", "copy", "-I", "probes", environ=environ, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        broker.send("patient", 1)
        worker.wait_for("patient begins")

        run("celery", "-A", "app", "control", "shutdown", environ=environ)

        worker.wait(seconds=15)
        assert "handed back" in worker.output()


@pytest.mark.parametrize("pool", [(), ("-P", "prefork", "-c", "2"), ("-P", "solo")])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_the_worker_after_giving_back_its_leases(
    pool: tuple[str, ...], signum: int, broker: Redis, environ: dict[str, str], tmp_path: Path
) -> None:
    """Celery would go on waiting for a task that hears nothing."""
    with running(*WORKER, "-Q", "copy", "-I", "probes,spies", *pool, environ=environ, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        broker.send("stuck", 1)
        worker.wait_for("stuck begins")
        pool_processes = children_of(worker.pid)
        worker.send_signal(signum)
        time.sleep(1)
        assert is_alive(worker.pid)
        started = time.monotonic()

        worker.send_signal(signum)
        status = worker.wait(seconds=15)

        assert time.monotonic() - started < 5
        assert status == 128 + signum
        assert "leases are given back" in worker.output()
        assert not any(is_alive(pid) for pid in pool_processes)


def test_stop_that_takes_longer_than_a_lease_is_ended(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """One signal is enough: after its lease a task has nothing left that it may do."""
    with running(*WORKER, "-Q", "copy", "-I", "probes,spies", environ=environ | SHORT, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        broker.send("stuck", 1)
        worker.wait_for("stuck begins")
        started = time.monotonic()

        worker.send_signal(signal.SIGTERM)
        status = worker.wait(seconds=20)

        assert 3 < time.monotonic() - started < 8
        assert status == 128 + signal.SIGALRM
        assert "leases are given back" in worker.output()


def test_killed_worker_s_message_comes_back_after_the_visibility_timeout(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """Not at kombu's own sweep, which came after 100 s."""
    with running(*WORKER, "-Q", "copy", "-I", "probes", environ=environ | SHORT, folder=tmp_path, name="first") as first:
        first.wait_for(" ready.")
        broker.send("patient", 1)
        first.wait_for("patient begins")
        first.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        with running(*WORKER, "-Q", "copy", "-I", "probes", environ=environ | SHORT, folder=tmp_path, name="second") as second:
            second.wait_for("patient begins", seconds=30)

            assert time.monotonic() - killed < 20


# Health, and brokers that come and go


def test_health_is_green_while_the_worker_consumes_and_red_when_it_has_stopped(
    broker: Redis, environ: dict[str, str], tmp_path: Path
) -> None:
    """Also red while it lives and its broker takes no requests, and green again by itself (case 41)."""
    assert health(environ) == (1, "no worker runs here")
    with running(*WORKER, "-Q", "copy", "-I", "probes", environ=environ, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        wait_until(lambda: health(environ) == (0, "consuming"), seconds=10)
        assert health(environ, "copy") == (0, "consuming")
        assert health(environ, "rename") == (1, "no rename runs here")

        broker.client.replicaof("127.0.0.1", 1)
        wait_until(lambda: health(environ)[0] == 1, seconds=40)
        assert is_alive(worker.pid)

        broker.client.replicaof("no", "one")
        wait_until(lambda: health(environ)[0] == 0, seconds=30)
        broker.send("quick", 1)
        worker.wait_for("succeeded")

        worker.send_signal(signal.SIGTERM)
        assert worker.wait() == 0
    assert health(environ) == (1, "no worker runs here")


def test_health_turns_red_when_no_slot_comes_free(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """A worker whose tasks are all stuck consumes nothing, though its event loop runs."""
    with running(*WORKER, "-Q", "copy", "-c", "1", "-I", "probes", environ=environ | SHORT, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        wait_until(lambda: health(environ)[0] == 0, seconds=10)
        broker.send("stuck", 1)

        wait_until(lambda: health(environ)[0] == 1, seconds=45)
        assert is_alive(worker.pid)


def test_busy_worker_stays_green(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """All slots taken, one coming free each second: that is work."""
    with running(*WORKER, "-Q", "copy", "-c", "1", "-I", "probes", environ=environ | SHORT, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        for number in range(14):
            broker.send("short", number)
        worker.wait_for("succeeded", times=10, seconds=60)

        assert health(environ) == (0, "consuming")


def restart(broker: Redis) -> None:
    """Kill Redis, and start it again empty."""
    broker.stop()
    time.sleep(3)
    broker.start()


def flush(broker: Redis) -> None:
    """Lose all messages and bindings."""
    broker.client.flushall()


def silence(broker: Redis) -> None:
    """Let Redis hang for twenty seconds with all connections open."""
    broker.send_signal(signal.SIGSTOP)
    time.sleep(20)
    broker.send_signal(signal.SIGCONT)


def drop_connections(broker: Redis) -> None:
    """Cut all connections three times in three seconds."""
    for _ in range(3):
        broker.client.execute_command("CLIENT", "KILL", "SKIPME", "yes")
        time.sleep(1)


@pytest.mark.parametrize("outage", [restart, flush, silence, drop_connections])
def test_worker_outlives_its_broker_s_outage(outage: object, broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """Consumption resumes by itself (cases 41, 42)."""
    with running(*WORKER, "-Q", "copy", "-I", "probes", environ=environ, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        assert callable(outage)
        outage(broker)

        broker.send("quick", 1)
        worker.wait_for("succeeded", seconds=40)


def test_beat_outlives_its_broker_s_outage(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """The reconciler's ticks come again after a restart of Redis, and beat's health says so."""
    fast = environ | {"REKEY_RECONCILE_SECONDS": "1"}
    with running("celery", "-A", "app", "beat", "-l", "INFO", environ=fast, folder=tmp_path) as beat:
        wait_until(lambda: broker.waiting("seed") > 1)
        assert health(fast, "beat") == (0, "consuming")
        broker.stop()
        wait_until(lambda: health(fast, "beat")[0] == 1, seconds=40)

        broker.start()

        wait_until(lambda: broker.waiting("seed") > 1, seconds=40)
        assert health(fast, "beat") == (0, "consuming")
        beat.send_signal(signal.SIGTERM)
        assert beat.wait() == 0
    assert list(ROOT.glob("celerybeat-schedule*")) == []


def test_ticks_that_nobody_consumes_do_not_pile_up(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """Beat says why it sends no more."""
    with running("celery", "-A", "app", "beat", "-l", "INFO", environ=environ | {"REKEY_RECONCILE_SECONDS": "1"}, folder=tmp_path) as beat:
        beat.wait_for("messages wait in the queue seed: is its worker running?", seconds=40)

        assert broker.waiting("seed") == 10


# TLS


def test_tls_certificate_is_verified(tmp_path: Path) -> None:
    """An unknown certificate is refused, one whose authority is named is accepted."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl on PATH")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    command = (
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        *subject,
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    )
    subprocess.run(command, check=True, capture_output=True)
    with redis_server() as server:
        for name, value in (("tls-cert-file", certificate), ("tls-key-file", key), ("tls-auth-clients", "no"), ("tls-port", free_port())):
            server.client.config_set(name, str(value))
        url = f"rediss://localhost:{server.client.config_get('tls-port')['tls-port']}/0"
        with running(*WORKER, "-Q", "copy", environ=environment(url, tmp_path), folder=tmp_path, name="refused") as worker:
            worker.wait_for("CERTIFICATE_VERIFY_FAILED")
            assert " ready." not in worker.output()
        trusted = environment(f"{url}?ssl_ca_certs={certificate}", tmp_path)
        with running(*WORKER, "-Q", "copy", environ=trusted, folder=tmp_path, name="trusted") as worker:
            worker.wait_for(" ready.")
