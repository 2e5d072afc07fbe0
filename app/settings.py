"""All settings of one process, read once: flag > environment (REKEY_...) > rekey.toml > default.

Nothing is read at import. What cannot be right is refused by name with the remedy, as one UsageError of one line.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app import settings_rules as rules
from app import settings_sources as sources
from app.column_roles import shared_column
from app.errors import UsageError
from app.fidelity_rules import Policy
from app.object_keys import Template
from app.redaction import mask_url, redact
from app.settings_table import KEYS, REQUIRED, Setting, describe, env_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pydantic_settings import PydanticBaseSettingsSource

DAY = 86_400
WITH_PASSWORDS = frozenset({"database_url", "broker_url"})  # of which all but the password is shown
NOT_GIVEN = SecretStr("")  # of a required setting that this process was not asked to have


def _secret(rule: Callable[[str], str] = str) -> AfterValidator:
    return AfterValidator(lambda secret: SecretStr(rule(secret.get_secret_value())))


OptionalText = Annotated[str | None, BeforeValidator(rules.none_if_empty)]


class Settings(BaseSettings):
    """What the operator chose; frozen. Made by ``load``: built by hand it takes what it is given and reads no environment."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True, validate_default=False)

    database_url: Annotated[SecretStr, _secret(rules.database_url)] = Field(
        NOT_GIVEN, description="Database of the assets table, always the primary: postgresql://, mysql://, mariadb:// or sqlite:///."
    )
    broker_url: Annotated[SecretStr, _secret(rules.broker_url)] = Field(
        NOT_GIVEN, description="Redis 6.2 or later, or Valkey: redis://host:6379/0, rediss:// with TLS."
    )
    s3_endpoint: Annotated[str, AfterValidator(rules.s3_endpoint)] = Field("", description="Scheme and host of the object store.")
    s3_access_key: Annotated[SecretStr, _secret()] = Field(NOT_GIVEN, description="Access key of the object store.")
    s3_secret_key: Annotated[SecretStr, _secret()] = Field(NOT_GIVEN, description="Secret key of the object store.")
    s3_credentials: Literal["keys", "profile", "environment"] = Field(
        "keys",
        description="Where the keys come from: keys: the two settings above; profile: AWS's shared files; environment: AWS_ACCESS_KEY_ID "
        "and the like, else those files, else the role of machine, container or service account. Keys that expire are fetched anew.",
    )
    s3_profile: OptionalText = Field(None, description="Profile in AWS's shared files; without it AWS_PROFILE, else default.")
    s3_region: str = Field("us-east-1", min_length=1, description="Region that requests are signed for.")
    s3_bucket: Annotated[str, AfterValidator(rules.s3_bucket)] = Field("", description="Bucket of the objects.")
    target_bucket: Annotated[OptionalText, AfterValidator(rules.target_bucket)] = Field(
        None,
        description="Another bucket of the same endpoint, for the new keys: each key of the template's form then means an object of this "
        "one, also to your service (docs/operating.md).",
    )
    s3_ca_file: Annotated[OptionalText, AfterValidator(rules.existing_file)] = Field(
        None, description="CA certificates (PEM) to verify the object store with, besides the system's."
    )

    table: Annotated[str, AfterValidator(rules.table_name)] = Field("", description="The assets table: table or schema.table.")
    id_column: Annotated[str, BeforeValidator(rules.column_list)] = Field(
        "id", description="Primary key of the table; commas between the columns of a composite one."
    )
    client_column: str = Field("client_id", min_length=1, description="Column with the client's id.")
    key_column: str = Field("object_key", min_length=1, description="Column with the object key: the only one that is ever written.")
    name_column: OptionalText = Field(None, description="Column with the file name; without it, the last segment of the old key.")
    template: Annotated[str, AfterValidator(rules.template)] = Field(
        "clients/{client_id}/assets/{file_name}",
        description="Form of the new keys; fields: {client_id}, {file_name}, {key} (the old key whole), {col.NAME} (any column).",
    )
    on_collision: Literal["park", "suffix"] = Field(
        "park",
        description="What becomes of an asset whose new key is another asset's: park, or suffix: a key of its own, name-7x3k9q2m4t.png.",
    )
    where: OptionalText = Field(None, description="SQL condition on the rows to move, used as it is.")
    references: Annotated[tuple[str, ...], BeforeValidator(rules.references)] = Field(
        (), description="Other columns that hold object keys, as table.column or schema.table.column: what they name is not deleted."
    )
    version_column: OptionalText = Field(
        None,
        description="Whole-number column of its own to add one to with each switch (NULL counts as 0), so that optimistic locking refuses "
        "a stale save.",
    )

    grace_seconds: int = Field(
        3600,
        ge=0,
        le=90 * DAY,
        description="How long the old object stays after the switch: the longest time a reader acts on a key it has read.",
    )
    lease_seconds: int = Field(30, ge=2, le=840, description="How long one worker has a batch for itself.")
    visibility_timeout_seconds: int = Field(
        60, ge=3, le=DAY, description="After how long the broker gives an unacknowledged message to another."
    )
    reconcile_seconds: float = Field(5, ge=0.2, le=300, description="How often due moves are looked for and hinted again; fractions too.")
    request_timeout_seconds: int = Field(10, ge=1, le=600, description="Total time of one request to the object store.")
    look_seconds: int = Field(
        5, ge=1, le=300, description="How soon after the switch the old object is looked at for a late write; then at doubling intervals."
    )
    canary_reads: int = Field(
        10,
        ge=0,
        le=1000,
        description="How many moved assets each reconciler's tick reads, as the service would; one that fails pauses the run. 0: none.",
    )
    settle_seconds: int = Field(60, ge=0, le=DAY, description="How far apart the application writes a row and uploads its object, at most.")
    hint_seconds: int = Field(
        60, ge=1, le=900, description="How long a move is left alone before it is hinted again; doubles up to 15 minutes."
    )

    copy_mode: Literal["auto", "server", "worker"] = Field(
        "auto",
        alias="copy",
        description="auto: only writes that cannot replace a foreign object; worker: of these only PUTs, by the worker; "
        "server: plain CopyObject, or several small objects in one PUT, if nobody else writes new keys.",
    )
    inline_bytes: int = Field(
        8 * 1024**2, ge=0, le=1024**3, description="Up to this size GET + PUT stands in for a conditional CopyObject."
    )
    fidelity: Annotated[str, AfterValidator(rules.fidelity)] = Field(
        "",
        description="What becomes of objects whose copy would lack an attribute here, as NAME=RULE,...: keep parks them, warn moves them "
        "and counts the loss, fail starts no run at all, ignore asks for nothing. Names: readers (what a GET shows: keep, unless you say "
        "otherwise), owners (the rest: warn), all, and each attribute that `rekey doctor` lists.",
    )
    verify: Literal["hash", "read", "checksum"] = Field(
        "hash",
        description="Proof of a copy. hash: its ETag is the source's content hash, else its size is looked at, and the bytes of what a "
        "worker wrote are compared; read: and a GET finds it readable; checksum: and all bytes of source and copy are read and compared.",
    )
    batch_size: int = Field(
        200,
        ge=1,
        le=1000,
        description="Most assets in one message (all that a worker takes at once to copy: 5000; rename and delete: five times as many); "
        "1: one message each.",
    )
    copy_concurrency: int = Field(
        100,
        ge=1,
        le=1000,
        description="Objects that one worker copies at once, and its tasks at most; a task has up to ten of them under way, "
        "and reads as many ahead where there is room; fewer while the processors are busy.",
    )
    rename_concurrency: int = Field(
        10, ge=1, le=1000, description="Rename tasks at once in one worker; fewer while the processors are busy."
    )
    delete_concurrency: int = Field(
        100, ge=1, le=1000, description="Delete tasks at once in one worker; fewer while the processors are busy."
    )
    seed_concurrency: int = Field(1, ge=1, le=100, description="Seed and reconcile tasks at once in one worker.")
    max_in_flight: int = Field(20_000, ge=1, le=10_000_000, description="Most moves that the broker knows of or a worker holds at once.")
    copy_rate: int = Field(0, ge=0, le=1_000_000, description="Most assets copied a second, by all workers together; 0: no bound.")
    rename_rate: int = Field(0, ge=0, le=1_000_000, description="Most rows switched a second, by all workers together; 0: no bound.")
    delete_rate: int = Field(0, ge=0, le=1_000_000, description="Most old objects deleted a second, by all workers together; 0: no bound.")
    adapt: Annotated[bool, BeforeValidator(rules.yes_or_no)] = Field(
        True,  # noqa: FBT003 - pydantic takes a default so
        description="Whether stages slow down by themselves where the store answers 503 SlowDown, and by the bounds that follow.",
    )
    store_latency_ms: int = Field(
        0, ge=0, le=600_000, description="Mean time of a request to the store, in ms, above which stages slow down; 0: no bound."
    )
    database_latency_ms: int = Field(
        0, ge=0, le=600_000, description="Time of a small transaction, in ms, above which stages slow down; 0: no bound."
    )
    replica_lag_seconds: int = Field(
        0,
        ge=0,
        le=DAY,
        description="How far a replica of PostgreSQL may be behind before stages slow down; 0: no bound, none is looked at.",
    )
    broker_depth: int = Field(
        0, ge=0, le=10_000_000, description="Messages in the queues above which nothing more is put there; 0: no bound."
    )
    window: Annotated[OptionalText, AfterValidator(rules.hours)] = Field(
        None, description="Hours in which a run may work, with their time zone: 22:00-06:00 Europe/Berlin; without a zone UTC."
    )
    probe_sql: Annotated[OptionalText, AfterValidator(rules.question)] = Field(
        None, description="A SELECT of yours whose one value lets the run go on while it is true; asked at each reconciler's tick."
    )
    probe_url: Annotated[SecretStr, _secret(rules.web_url)] = Field(
        NOT_GIVEN, description="A URL of yours that lets the run go on while it answers 2xx; asked at each reconciler's tick."
    )
    guard_percent: int = Field(
        5, ge=0, le=100, description="Share of failures among the last outcomes of a stage that pauses the run, in per cent; 0: none does."
    )
    guard_outcomes: int = Field(1000, ge=1, le=1_000_000, description="How many last outcomes that is a share of.")
    after_switch: Annotated[OptionalText, AfterValidator(rules.function_name)] = Field(
        None, description="A function of yours, as module:function, that sees each asset once its row is switched (docs/hooks.md)."
    )
    deletes_wait: Annotated[bool, BeforeValidator(rules.yes_or_no)] = Field(
        False,  # noqa: FBT003 - pydantic takes a default so
        description="Whether an old object is deleted only after that function has seen its asset.",
    )
    own_concurrency: int = Field(4, ge=1, le=1000, description="Calls of that function at once in one worker.")
    webhook_url: Annotated[SecretStr, _secret(rules.web_url)] = Field(
        NOT_GIVEN, description="A URL that is told of a run's start, shares, standstills and end by POST; of the workers of the seed queue."
    )
    webhook_secret: Annotated[SecretStr, _secret()] = Field(
        NOT_GIVEN, description="What those messages are signed with (HMAC-SHA-256, in the header X-Rekey-Signature)."
    )
    webhook_percent: int = Field(25, ge=0, le=100, description="After each so many per cent of the rows the webhook is told; 0: not.")
    max_attempts: int = Field(5, ge=1, le=100, description="Recorded errors after which an asset is parked as failed.")
    max_deaths: int = Field(3, ge=1, le=100, description="Workers that one asset may kill, alone in its batch, before it is parked.")
    queue_prefix: Annotated[str, AfterValidator(rules.queue_prefix)] = Field(
        "rekey:", description="Prefix of everything on the broker (kombu's global_keyprefix); keeps two deployments apart."
    )
    journal: Annotated[bool, BeforeValidator(rules.yes_or_no)] = Field(
        True,  # noqa: FBT003 - pydantic takes a default so
        description="Whether each batch of deletes is first noted in the bucket, below .rekey/journal/, for `verify --repair` to heal a "
        "table that was restored from an older back-up.",
    )

    ledger_days: int = Field(
        0,
        ge=0,
        le=3650,
        description="Days after a run's end at which its finished moves leave the ledger for the bucket, below .rekey/ledger/ "
        "(docs/operating.md); 0: they stay.",
    )
    log_format: Literal["text", "json"] = Field("text", description="Form of the log lines.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given: pydantic's own sources cannot say where a wrong value stands, nor refuse names that are no setting."""
        return (init_settings,)

    @model_validator(mode="after")
    def _keep_order(self) -> Self:
        for first, second, why, may_be_equal in _ORDER:
            low, high = getattr(self, first), getattr(self, second)
            if low > high or (low == high and not may_be_equal):
                relation = "at most" if may_be_equal else "below"
                raise ValueError(f"{env_name(first)} ({low:g}) must be {relation} {env_name(second)} ({high:g}): {why}")
        if self.on_collision == "suffix" and not self.key_template.has_name:
            raise ValueError("REKEY_ON_COLLISION=suffix needs {file_name} or {key} in REKEY_TEMPLATE: the suffix is put behind that")
        if self.target_bucket is not None:
            rules.two_buckets(self.s3_bucket, self.target_bucket, self.template)
        shared = shared_column(
            ids=self.id_columns,
            client=self.client_column,
            key=self.key_column,
            name=self.name_column,
            template=self.key_template.columns,
            version=self.version_column,
        )
        if shared is not None:
            raise ValueError(shared)
        return self

    @property
    def id_columns(self) -> tuple[str, ...]:
        """The columns of the primary key."""
        return tuple(self.id_column.split(","))

    @property
    def key_template(self) -> Template:
        """The template, parsed."""
        return Template.parse(self.template, named=self.name_column is not None)

    @property
    def fidelity_policy(self) -> Policy:
        """The rules of REKEY_FIDELITY, parsed."""
        return Policy.parse(self.fidelity)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown, for ``app.redaction`` and ``app.logs``: keys, URLs, and the passwords in them."""
        texts = [value.get_secret_value() for _, value in self if isinstance(value, SecretStr)]
        return tuple(found for text in texts for found in (text, rules.password_of(text)) if found)

    def public(self) -> dict[str, Any]:
        """All settings by name without secrets, fit for JSON: URLs without passwords, keys left out."""
        shown: dict[str, Any] = {}
        for setting in declared():
            value = getattr(self, setting.attribute)
            if not isinstance(value, SecretStr):
                shown[setting.name] = list(value) if isinstance(value, tuple) else value
            elif setting.name in WITH_PASSWORDS:
                shown[setting.name] = mask_url(value.get_secret_value())
        return shown


_ORDER = (
    ("request_timeout_seconds", "lease_seconds", "a request must end while its worker still has the lease", False),
    ("lease_seconds", "visibility_timeout_seconds", "a message must not come back while its batch is leased", False),
    ("reconcile_seconds", "look_seconds", "the reconciler is what starts the look after a switch", True),
)


def declared() -> tuple[Setting, ...]:
    """All settings in the order of their declaration."""
    return describe(Settings.model_fields)


def load(
    flags: Mapping[str, object] = MappingProxyType({}),
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    config: str | None = None,
    required: Collection[str] = REQUIRED,
) -> Settings:
    """Read the settings; the process's environment and current folder unless others are given.

    Args:
        flags: Values by setting name; None stands for a flag that was not given.
        environ: The environment.
        folder: Where rekey.toml and relative file names are looked for.
        config: The settings file instead of rekey.toml (the --config flag).
        required: What this command cannot do without.

    Raises:
        UsageError: Something is missing, unknown or cannot be right.
    """
    environ = os.environ if environ is None else environ
    folder = Path.cwd() if folder is None else folder
    names = [setting.name for setting in declared()]
    secrets = [setting.name for setting in declared() if setting.secret]
    found = [sources.from_flags(Settings, flags), sources.from_environment(Settings, environ, names=names, secrets=secrets, folder=folder)]
    path = sources.find_file(config, environ, folder)
    if path is not None:
        found.append(sources.from_file(Settings, path, names=names, secrets=secrets))
    chosen = next((source.values["s3_credentials"] for source in found if source.values.get("s3_credentials")), "keys")
    needed = [name for name in REQUIRED if name in required and (chosen == "keys" or name not in KEYS)]
    missing = [name for name in needed if not any(source.values.get(name) for source in found)]
    if missing:
        raise UsageError(
            f"not set: {', '.join(map(env_name, missing))}; set them in the environment or in small letters in {sources.FILE_NAME}"
        )
    given: dict[str, Any] = {"_build_sources": (tuple(found), {})}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise UsageError(_refusal(error, found)) from None


def checked(name: str, value: str) -> Any:  # noqa: ANN401 - as the setting has it
    """The value of one setting from how a person writes it; no other place is read.

    Raises:
        UsageError: It cannot be right; the line says what to give instead.
    """
    given: dict[str, Any] = {"_build_sources": ((sources.from_flags(Settings, {name: value}),), {})}
    try:
        return getattr(Settings(**given), _declared(name).attribute)
    except ValidationError as error:
        raise UsageError(_remedy(error)[1]) from None


def _remedy(error: ValidationError) -> tuple[str | None, str]:
    """The first setting that is refused, None where it is the order of several, and what to give instead."""
    first = error.errors(include_url=False, include_input=False)[0]
    words = str(first["ctx"]["error"]) if first["type"] == "value_error" else ""
    if not first["loc"]:
        return None, words
    name = str(first["loc"][0])
    return name, words or _declared(name).remedy


def _declared(name: str) -> Setting:
    return next(setting for setting in declared() if setting.name == name)


def _refusal(error: ValidationError, found: Collection[sources.Source]) -> str:
    name, remedy = _remedy(error)
    if name is None:
        return remedy
    place = next(source.places[name] for source in found if name in source.places)
    value = next(source.values[name] for source in found if name in source.values)
    shown = "its value" if _declared(name).secret else redact(repr(value))[:200]
    return f"{place}: {shown} cannot be right: {remedy}"
