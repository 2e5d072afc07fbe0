"""``rekey metrics`` beside a real run: what Prometheus scrapes is what the status and the servers say."""

from __future__ import annotations

import re
import signal
import urllib.request
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.deployment import STAGES
from tests.integration.processes import wait_until

if TYPE_CHECKING:
    from tests.acceptance.deployment import Deployment

ASSETS = 40
DONE, USAGE = 0, 2


def scraped(address: str) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - our own http address
        assert answer.headers["content-type"].startswith("text/plain")
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [sample for family in families for sample in family.samples]
    return {(each.name, *(each.labels[label] for label in sorted(each.labels, reverse=True))): each.value for each in samples}


@pytest.mark.timeout(400)
def test_metrics_of_a_run_are_scraped_until_the_exporter_is_stopped(working: Deployment) -> None:
    """Moves, outcomes, latencies, workers and broker; a second exporter on the same port is refused in one line."""
    service, named = working.service()
    service.fill(ASSETS)
    exporter = working.start("app", "metrics", "--listen", "127.0.0.1:0", name="metrics", **named)
    try:
        exporter.wait_for("metrics at http")
        address = re.search(r"http://\S+/metrics", exporter.output())
        assert address is not None
        before = scraped(address[0])
        assert working.rekey("enqueue", "--watch", "--json", seconds=200, **named).status == DONE
        wait_until(lambda: scraped(address[0]).get(("rekey_stage_outcomes_total", "delete")) == ASSETS)
        after = scraped(address[0])
        port = address[0].rpartition(":")[2].partition("/")[0]
        second = working.rekey("metrics", "--listen", f"127.0.0.1:{port}", **named)
        printed = working.rekey("metrics", "--json", **named)
        exporter.send_signal(signal.SIGTERM)
        status = exporter.wait(seconds=30)
    finally:
        exporter.kill()

    assert (before["rekey_database_up",], before["rekey_broker_up",]) == (1, 1)
    assert ("rekey_moves", "deleted") not in before, "there is no run yet"
    workers = {queue: number for (name, *queues), number in after.items() if name == "rekey_workers" for queue in queues}
    assert workers == dict.fromkeys(STAGES, 1), "nobody is missed where the operator has no stage of his own"
    assert {stage: 0 <= after["rekey_worker_heartbeat_age_seconds", stage] < 20 for stage in STAGES} == dict.fromkeys(STAGES, True)
    assert after["rekey_run_state", "finished"] == 1
    assert after["rekey_stage_outcomes_total", "copy"] == ASSETS
    assert after["rekey_store_request_seconds_count", "copy"] >= 2 * ASSETS, "a GET and a PUT each"
    assert after["rekey_store_request_seconds_bucket", "copy", "+Inf"] == after["rekey_store_request_seconds_count", "copy"]
    assert (second.status, port in second.complaint, "--listen" in second.complaint) == (USAGE, True, True)
    samples = {(each["name"], *each["labels"].values()): each["value"] for each in printed.report["samples"]}
    assert samples["rekey_moves", "deleted"] == ASSETS
    assert status == DONE
