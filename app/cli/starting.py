"""Starting a run: see that every part is fit for it, write its record, send the seed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, String, exc

from app import resources
from app.assets import AssetRow, Assets
from app.cli import product_version
from app.cli.identity import operator
from app.cli.plan_use import MAX_DRIFT, refuse_drift
from app.database import MICROSECONDS, brief, open_engine, refuse_replica, transaction
from app.doctor.store import new_prefix
from app.errors import (
    BrokerUnavailableError,
    DatabaseUnavailableError,
    DeniedError,
    MissingObjectError,
    NoKeysError,
    StoreRequestError,
    StoreUnavailableError,
    TransientError,
    UsageError,
)
from app.fidelity import unkept, ways_of
from app.fidelity_rules import names
from app.ladder import MILLION, Step
from app.ledger.records import JOURNAL_MARK, Run
from app.ledger.saved_plans import SavedPlan
from app.object_keys import Equivalence
from app.object_store import Capabilities, ObjectStore
from app.placing import folded_form
from app.planning import rules_of
from app.probe import probe, see_readable
from app.run_settings import run_settings, table_names
from app.s3_errors import NO_BUCKET
from app.settings import Settings
from app.stages.seed_pages import PAGE_ROWS
from app.states import RunKind
from app.two_buckets import TwoBuckets, probe_both

COUNT_SECONDS = 600
ABSENT_KEY = ".rekey/absent"
PACE = ("grace_seconds", "copy_rate", "rename_rate", "delete_rate")
LONG_AGO = 1
VOUCH = "set REKEY_COPY=server if nobody else writes under the new keys"
OWN_KEYS = "a rollback writes under the application's own keys, so it needs a store that does"
PROBE_HOURS = 24  # an endpoint is tried anew after so long; within it a second run writes nothing to the store (S9)


def start(
    settings: Settings,
    *,
    plan: SavedPlan | None = None,
    max_drift: float = MAX_DRIFT,
    hold: bool = False,
    max_deletes: int | None = None,
    steps: Sequence[Step] = (),
    is_auto: bool = False,
) -> Run:
    """Start a run from *settings* and send its seed; from *plan*, if its table has not drifted by more than *max_drift* per cent.

    Over all rows, or in *steps*; *is_auto*: from one to the next by itself.

    Raises:
        UsageError: A part is not as a run needs it, or a live run is on the same bucket and table.
        BrokerUnavailableError: The broker does not answer; no run was made.
    """
    from tasks.messages import check_broker, enqueue_seed  # noqa: PLC0415 - Celery is imported by the commands that send

    resources.configure(settings, statement_seconds=resources.COMMAND_SECONDS)
    resources.deployment()  # the ledger is there, and this is the primary
    refuse_unfit_table(resources.engine(), settings)
    capabilities = _fit_store(settings)
    refuse_unsafe(settings, capabilities)
    rules = rules_of(settings, capabilities)
    assets = Assets(resources.engine(), table_names(settings), rules.equivalence)
    first = _first_page(settings, assets)
    rows = _count(settings, assets)
    if plan is not None:
        refuse_drift(plan, engine=resources.engine(), settings=settings, rows_now=rows, max_drift=max_drift)
    longest = max((len(plan.new_key) for plan in map(rules.plan, first)), default=0)
    _refuse_short_column(settings, assets.key_type, longest)
    check_broker()
    run = resources.runs().create(
        bucket=settings.s3_bucket,
        table_name=settings.table,
        settings=run_settings(settings) | _mark(settings),
        capabilities=dataclasses.asdict(capabilities),
        rows=_chosen(settings, assets, steps[-1], rows) if steps else rows,
        user=operator(),
        version=product_version(),
        steps=steps,
        is_auto=is_auto,
        hold_deletes=hold,
        deletes_left=max_deletes,
        plan_id=plan.id if plan else None,
    )
    enqueue_seed(run)
    return run


def start_rollback(settings: Settings, origin: Run, *, rows: int, clients: Sequence[str], where: str | None) -> Run:
    """Start the run that takes *origin* back, and send its seed. It has the table and columns of *origin*, the pace of *settings*.

    Raises:
        UsageError: The endpoint cannot do it safely, or a live run is on the same bucket and table.
        BrokerUnavailableError: The broker does not answer; no run was made.
    """
    from tasks.messages import enqueue_seed  # noqa: PLC0415 - as above

    careful, capabilities = fit_for_rollback(settings, where=where)
    own = run_settings(careful)
    run = resources.runs().create(
        bucket=origin.bucket,
        table_name=origin.table_name,
        settings={
            **_unmarked(origin.settings),
            **{name: own[name] for name in ("where", "copy_mode", *PACE)},
            **_mark(careful),
        },
        capabilities=dataclasses.asdict(capabilities),
        rows=rows,
        user=operator(),
        version=product_version(),
        kind=RunKind.ROLLBACK,
        origin_no=origin.no,
        selection={"clients": list(clients), "where": where},
    )
    enqueue_seed(run)
    return run


def fit_for_rollback(settings: Settings, *, where: str | None) -> tuple[Settings, Capabilities]:
    """See that a rollback can start now: what comes before it, such as the end of a paused run, cannot be taken back.

    Returns:
        The settings that it writes by, and what the endpoint honours.

    Raises:
        UsageError: The endpoint cannot do it safely.
        BrokerUnavailableError: The broker does not answer.
    """
    from tasks.messages import check_broker  # noqa: PLC0415 - as above

    # Old keys are the application's own: nothing is ever written there without a condition, whatever was said of the new ones.
    mode = "auto" if settings.copy_mode == "server" else settings.copy_mode
    careful = settings.model_copy(update={"copy_mode": mode, "where": where})
    capabilities = _fit_store(careful)
    refuse_unsafe(careful, capabilities, remedy=OWN_KEYS)
    check_broker()
    return careful, capabilities


def _mark(settings: Settings) -> dict[str, str]:
    return {JOURNAL_MARK: ""} if settings.journal else {}


def _unmarked(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != JOURNAL_MARK}


def assets_where(settings: Settings, where: str) -> Assets:
    """The assets table as a condition of the operator's selects it.

    Raises:
        UsageError: The database refuses the condition.
    """
    chosen = settings.model_copy(update={"where": where})
    assets = Assets(resources.engine(), table_names(chosen), Equivalence())
    try:
        with transaction(resources.engine(), read_only=True) as connection:
            assets.page(connection, after=None, limit=1)
    except exc.DBAPIError as error:
        raise UsageError(f"--only-where: the database refuses it: {brief(error)}") from error
    return assets


def refuse_unfit_table(engine: Engine, settings: Settings) -> None:
    """Raise UsageError if the table's columns are not such that a run can go by them and write them; the store is asked nothing."""
    Assets(engine, table_names(settings), Equivalence()).refuse_unfit()


def _first_page(settings: Settings, assets: Assets) -> list[AssetRow]:
    try:
        with transaction(resources.engine(), read_only=True) as connection:
            refuse_replica(connection)
            return assets.page(connection, after=None, limit=PAGE_ROWS)
    except exc.DBAPIError as error:
        if not settings.where:
            raise
        raise UsageError(f"REKEY_WHERE: the database refuses it: {brief(error)}") from error


def _count(settings: Settings, assets: Assets) -> int:
    """The rows to move; a count of 10^9 rows takes longer than any statement of the workers may."""
    patient = open_engine(settings.database_url.get_secret_value(), pool_size=1, statement_seconds=COUNT_SECONDS)
    try:
        with transaction(patient, read_only=True) as connection:
            return assets.count(connection)
    finally:
        patient.dispose()


def _chosen(settings: Settings, assets: Assets, step: Step, rows: int) -> int:
    """How many of the *rows* of the table *step* takes, about."""
    if step.clients:
        rows = _count_of_clients(settings, assets, step.clients)
    if step.sample is not None:
        rows = round(rows * step.sample / MILLION)
    return rows if step.limit is None else min(rows, step.limit)


def _count_of_clients(settings: Settings, assets: Assets, clients: Sequence[str]) -> int:
    named = " or ".join(map(repr, clients))
    try:
        rows = _count(settings, assets.of_clients(clients))
    except (exc.StatementError, OverflowError) as error:  # all else of this statement was asked before
        raise UsageError(f"--client: the column {settings.client_column!r} holds no such value as {named}") from error
    if not rows:
        raise UsageError(f"--client: no row has {settings.client_column} = {named}")
    return rows


def _fit_store(settings: Settings) -> Capabilities:
    with explained(settings):
        return probed(settings)


@contextmanager
def explained(settings: Settings) -> Iterator[None]:
    """Say what is wrong with the endpoint in the words of the settings."""
    try:
        yield
    except (DatabaseUnavailableError, BrokerUnavailableError):
        raise
    except NoKeysError:
        raise  # which says where they were looked for; the store was not asked
    except TransientError as error:
        raise StoreUnavailableError(f"the object store (REKEY_S3_ENDPOINT) does not answer: {error}") from error
    except DeniedError as error:
        raise UsageError(
            f"the object store refuses REKEY_S3_ACCESS_KEY and REKEY_S3_SECRET_KEY, or they lack rights (`rekey doctor` says): {error}"
        ) from error
    except StoreRequestError as error:
        if not error.detail.startswith(NO_BUCKET):
            raise
        named = f"REKEY_S3_BUCKET: there is no bucket {settings.s3_bucket!r}"
        if settings.target_bucket is not None:
            named = (
                f"REKEY_S3_BUCKET or REKEY_TARGET_BUCKET: there is no bucket {settings.s3_bucket!r}, or none {settings.target_bucket!r},"
            )
        raise UsageError(f"{named} at {settings.s3_endpoint}") from error


def probed(settings: Settings) -> Capabilities:
    """What the endpoint honours: from the last probe of the last day, else tried now with throw-away objects."""
    now = resources.runs().now()
    store = resources.store_of(settings, None, pool_size=1, patient=True)
    try:
        known = known_capabilities(settings, since=now - PROBE_HOURS * 3600 * MICROSECONDS)
        if known is not None:
            greet(store)
            return known
        found = probe_both(store) if isinstance(store, TwoBuckets) else probe(store)
        see_readable(store.target if isinstance(store, TwoBuckets) else store, new_prefix(settings.template))
    finally:
        store.close()
    keep_probe(settings, found, at=now)
    return found


def keep_probe(settings: Settings, found: Capabilities, *, at: int) -> None:
    """Remember what a probe has found that was begun *at*, in database microseconds; LONG_AGO: no run may be started on it."""
    resources.runs().remember(probe_note(settings), json.dumps({"at": at, "capabilities": dataclasses.asdict(found)}))


def probe_note(settings: Settings) -> str:
    """The name under which the last probe of this endpoint and bucket is remembered beside the ledger."""
    about = [settings.s3_endpoint, settings.s3_bucket, *filter(None, [settings.target_bucket])]
    return "probe:" + hashlib.sha256(json.dumps(about).encode()).hexdigest()


def known_capabilities(settings: Settings, *, since: int = 0) -> Capabilities | None:
    """What a probe made after *since*, in database microseconds, saw of the endpoint; None where there was none."""
    known = json.loads(resources.runs().remembered(probe_note(settings)) or "null")
    if known is None or known["at"] <= since or set(known["capabilities"]) != set(Capabilities.__slots__):
        return None
    return Capabilities.from_record(known["capabilities"])


def greet(store: ObjectStore) -> None:
    """See by one GET that bucket and credentials are still good: those of an earlier probe may have been others."""
    for each in (store.source, store.target) if isinstance(store, TwoBuckets) else (store,):
        _greet(each)


def _greet(store: ObjectStore) -> None:
    try:
        store.read(ABSENT_KEY, max_bytes=0)
    except MissingObjectError:
        return
    except DeniedError as error:
        if not error.detail.startswith("AccessDenied"):  # which is what S3 says of an absent key where listing is not allowed
            raise
    else:
        raise UsageError(
            f"REKEY_S3_ENDPOINT answers with an object for a key that none has ({ABSENT_KEY!r}): see what stands before the store"
        )


def refuse_unsafe(settings: Settings, capabilities: Capabilities, *, remedy: str = VOUCH) -> None:
    """Raise UsageError if a write to this endpoint could replace a foreign object (S3), or come after its signature has ended (M2)."""
    ignored = capabilities.ignored_conditions
    if ignored and settings.copy_mode != "server":
        raise UsageError(f"{settings.s3_endpoint} does not honour {', '.join(ignored)}: {remedy}")
    refused = unkept(capabilities.fidelity, ways_of(capabilities, copy_mode=settings.copy_mode), settings.fidelity_policy)
    if refused:
        raise UsageError(
            f"REKEY_FIDELITY: {settings.s3_endpoint} cannot keep {names(refused)} (`rekey doctor` says why): take another rule"
        )
    folded = folded_form(settings.template, Equivalence.of(capabilities)) if settings.target_bucket is not None else None
    if folded is not None:
        raise UsageError(folded)
    if not capabilities.query_signed_expiry:
        raise UsageError(
            f"{settings.s3_endpoint} carries out requests after their signature has expired: a late one could undo newer writes"
        )


def _refuse_short_column(settings: Settings, key_type: object, longest: int) -> None:
    length = getattr(key_type, "length", None) if isinstance(key_type, String) else None
    if length is not None and longest > length:
        raise UsageError(
            f"the column {settings.key_column!r} takes {length} characters, but new keys have up to {longest}: widen it before the run"
        )
