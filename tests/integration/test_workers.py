"""Real workers on a real Redis: what a plain worker takes of its stage's profile, and what no process starts with."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from tasks import messages
from tests.integration.processes import PREFIX, WORKER, Redis, environment, free_port, redis_server, run, running, wait_until


@pytest.fixture
def broker() -> Iterator[Redis]:
    """A Redis of the test's own."""
    with redis_server() as server:
        yield server


@pytest.fixture
def environ(broker: Redis, tmp_path: Path) -> dict[str, str]:
    """A deployment on that Redis."""
    return environment(broker.url, tmp_path)


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (("-Q", "rename"), ("concurrency: 10 (thread)", "worker rename@", "consumes rename, 10")),
        (("-Q", "copy", "-c", "3"), ("concurrency: 3 (thread)", "worker copy@", "consumes copy, 3")),
        (("-Q", "copy", "-P", "prefork", "-c", "2"), ("concurrency: 2 (prefork)", "worker copy@", "consumes copy, 2")),
        (("-Q", "copy", "-P", "solo"), ("(solo)", "worker copy@", "consumes copy")),
        (("-n", "mine@here"), ("concurrency: 100 (thread)", "worker mine@here", "consumes seed, copy, rename, delete, own, 100")),
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


def test_messages_that_lie_in_the_queues_are_counted(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """All stages' together, by which REKEY_BROKER_DEPTH goes; a broker that does not answer holds nobody back by that."""
    ours = Celery("test", broker=broker.url, set_as_current=False)
    ours.conf.update(broker_transport_options={"global_keyprefix": PREFIX}, broker_connection_retry=False)
    monkeypatch.setattr(messages, "celery", ours)
    before = messages.queue_depth()
    with ours.connection_for_write() as connection:
        for queue in ("seed", "copy", "copy", "delete", "elsewhere"):
            ours.send_task("nobody", queue=queue, ignore_result=True, connection=connection)
    lying = messages.queue_depth()
    monkeypatch.setattr(messages, "celery", Celery("test", broker=f"redis://127.0.0.1:{free_port()}/0", set_as_current=False))

    assert (before, lying, messages.queue_depth()) == (0, 4, 0)


def test_work_leaves_no_result_keys(broker: Redis, environ: dict[str, str], tmp_path: Path) -> None:
    """After the work Redis holds bindings only, and that the queue is consumed: no results, no unacknowledged messages (case 45)."""
    with running(*WORKER, "-Q", "copy", "-I", "probes", environ=environ, folder=tmp_path) as worker:
        worker.wait_for(" ready.")
        for number in range(20):
            broker.send("quick", number)
        worker.wait_for("succeeded", times=20)
        wait_until(lambda: broker.unacknowledged() == 0)

        left = {key.decode() for key in broker.client.scan_iter()}
    assert {key for key in left if not key.startswith(f"{PREFIX}_kombu.binding")} <= {f"{PREFIX}pulse.copy"}


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
        ("app", ("workers",)),
        ("app", ("workers", "health")),
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


@pytest.mark.parametrize("command", [("celery", "-A", "app", "beat", "-l", "INFO"), ("workers", "beat")])
def test_beat_needs_no_secrets_of_the_stages(command: tuple[str, ...], environ: dict[str, str], tmp_path: Path) -> None:
    """It starts with the broker alone."""
    bare = {name: value for name, value in environ.items() if not name.startswith(("REKEY_S3", "REKEY_DATABASE", "REKEY_TABLE"))}
    with running(*command, environ=bare, folder=tmp_path) as beat:
        beat.wait_for("Sending due task reconcile_moves")


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
