"""``rekey metrics``: what Prometheus scrapes, served until the command is ended, or printed once."""

from __future__ import annotations

import re
import signal
import threading
from contextlib import suppress
from functools import partial

import click
from prometheus_client import CollectorRegistry, generate_latest, start_http_server

from app import resources
from app.cli import DONE, INTERRUPTED
from app.cli.options import echo_json, json_flag, settings_flags
from app.errors import DatabaseUnavailableError, UsageError
from app.metrics.collecting import RunCollector, read
from app.settings import Settings

REQUIRED = ("database_url", "broker_url", "s3_bucket", "table")
LISTEN = "127.0.0.1:9464"
HIGHEST_PORT = 65535


class _Address(click.ParamType):  # type: ignore[type-arg] # click 8.2 has no arguments here
    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Host and port."""
        host, _, port = str(value).rpartition(":")
        if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > HIGHEST_PORT:
            self.fail(f"{value!r} is no HOST:PORT, such as {LISTEN}", param, ctx)
        return host.strip("[]"), int(port)


@click.command()
@click.option("--listen", type=_Address(), default=LISTEN, metavar="HOST:PORT", help=f"Where to serve. [{LISTEN}]")
@click.option("--once", is_flag=True, help="Print them and end.")
@json_flag
@settings_flags(required=REQUIRED, log_level="error")
def metrics(*, settings: Settings, listen: tuple[str, int], once: bool, as_json: bool) -> int:
    """Serve metrics for Prometheus: the newest run's moves, rates, latencies, causes, canary reads; queues, workers, broker.

    With --json they are printed once, each sample with its name, labels and value. Exit status: 0 ended by SIGTERM, 130 by Ctrl-C.
    """
    resources.configure(settings, statement_seconds=resources.COMMAND_SECONDS)
    try:
        with suppress(DatabaseUnavailableError):  # that it is away is what is told then; a ledger that is missing is an error
            resources.deployment()
        registry = CollectorRegistry(auto_describe=False)
        registry.register(RunCollector(partial(read, settings)))
        if as_json:
            samples = [sample for family in registry.collect() for sample in family.samples]
            echo_json({"samples": [{"name": each.name, "labels": each.labels, "value": each.value} for each in samples]})
            return DONE
        if once:
            click.echo(generate_latest(registry).decode(), nl=False)
            return DONE
        return INTERRUPTED if _serve(registry, *listen) == signal.SIGINT else DONE
    finally:
        resources.close()


def _serve(registry: CollectorRegistry, host: str, port: int) -> int:
    """Serve until a signal ends it, and give that."""
    over = threading.Event()
    received: list[int] = []

    def end(signum: int, _frame: object) -> None:
        received.append(signum)
        over.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, end)
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}; --listen names another address") from error
    click.echo(f"metrics at http://{host}:{server.server_port}/metrics", err=True)
    over.wait()
    server.shutdown()
    thread.join()
    return received[0]
