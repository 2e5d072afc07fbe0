"""Opens the object stores: one bucket, or the two that a run moves between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.clock import BootClock
from app.object_store import Capabilities
from app.placing import Placing
from app.settings import Settings
from app.stages.ahead import most_requests
from app.stopping import stopping

if TYPE_CHECKING:
    from app.minio_store import MinioStore
    from app.two_buckets import TwoBuckets

    Store = MinioStore | TwoBuckets


def open_bucket(own: Settings, bucket: str, capabilities: Capabilities | None, *, pool_size: int, patient: bool) -> MinioStore:
    """A new connection pool to *bucket*, by a process's *own* settings; the caller closes it.

    *patient*: as a command, which has no ledger.
    """
    from app.minio_store import MinioStore  # noqa: PLC0415 - 0.2 s, which `rekey status` and its like need not spend
    from app.s3_credentials import provider_of  # noqa: PLC0415 - as above
    from app.s3_http import SocketTransport  # noqa: PLC0415 - as above
    from app.s3_patience import COMMAND_TRIES, WORKER_TRIES, PatientTransport  # noqa: PLC0415 - as above

    sockets = SocketTransport(own.s3_endpoint, clock=BootClock(), keep=most_requests(pool_size), ca_file=own.s3_ca_file)
    transport = PatientTransport(sockets, tries=COMMAND_TRIES if patient else WORKER_TRIES, wait=stopping.wait)
    made = MinioStore(
        endpoint=own.s3_endpoint,
        provider=provider_of(own),
        region=own.s3_region,
        bucket=bucket,
        request_timeout=own.request_timeout_seconds,
        pool_size=pool_size,
        capabilities=capabilities,
        ca_file=own.s3_ca_file,
        transport=transport,
    )
    transport.refused = made.count_refusal
    return made


def open_store(own: Settings, values: Settings, capabilities: Capabilities | None, *, pool_size: int, patient: bool) -> Store:
    """A new store of all objects that *values* are about, in one bucket or in two, by a process's *own* settings; the caller closes it."""
    source = open_bucket(own, values.s3_bucket, capabilities, pool_size=pool_size, patient=patient)
    if values.target_bucket is None:
        return source
    from app.two_buckets import TwoBuckets  # noqa: PLC0415 - as above

    placing = Placing(source=values.s3_bucket, target=values.target_bucket, template=values.key_template)
    both = TwoBuckets(source, open_bucket(own, values.target_bucket, capabilities, pool_size=pool_size, patient=patient), placing)
    if capabilities is not None:
        both.capabilities = capabilities
    return both
