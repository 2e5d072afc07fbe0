"""How each setting is declared, as a table: flags, their help and docs/settings.md are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import SecretStr

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

PREFIX = "REKEY_"
TWIN = "_file"  # REKEY_S3_SECRET_KEY_FILE names a file that holds the secret
REQUIRED = ("database_url", "broker_url", "s3_endpoint", "s3_access_key", "s3_secret_key", "s3_bucket", "table")
KEYS = ("s3_access_key", "s3_secret_key")  # not needed where REKEY_S3_CREDENTIALS names another source
_NUMBERS: Mapping[Any, Literal["whole", "decimal"]] = {int: "whole", float: "decimal"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting; *attribute* is its name on ``Settings``, *name* everywhere else."""

    name: str
    attribute: str
    default: Any
    help: str
    secret: bool
    required: bool
    choices: tuple[str, ...]
    number: Literal["whole", "decimal"] | None  # None: a text
    low: float | None
    high: float | None

    @property
    def environment(self) -> str:
        """Its environment variable."""
        return env_name(self.name)

    @property
    def flag(self) -> str | None:
        """Its flag; a secret has none, since everyone on a machine can read a process's arguments."""
        return None if self.secret else "--" + self.name.replace("_", "-")

    @property
    def remedy(self) -> str:
        """What to give instead of a value that is refused."""
        if self.number:
            return f"give a {'whole ' if self.number == 'whole' else ''}number from {self.low} to {self.high}"
        if self.choices:
            return f"give {' or '.join(self.choices)}"
        return "give a text that is not empty"


def env_name(name: str) -> str:
    """The environment variable of the setting called *name*."""
    return PREFIX + name.upper()


def describe(fields: Mapping[str, FieldInfo]) -> tuple[Setting, ...]:
    """The table of a model's fields, in the order of their declaration."""
    return tuple(_describe(attribute, field) for attribute, field in fields.items())


def _describe(attribute: str, field: FieldInfo) -> Setting:
    name = field.alias or attribute
    bounds = {bound: getattr(rule, bound) for rule in field.metadata for bound in ("ge", "le") if hasattr(rule, bound)}
    return Setting(
        name=name,
        attribute=attribute,
        default=field.default,
        help=field.description or "",
        secret=field.annotation is SecretStr,
        required=name in REQUIRED,
        choices=_choices(field),
        number=_NUMBERS.get(field.annotation),
        low=bounds.get("ge"),
        high=bounds.get("le"),
    )


def _choices(field: FieldInfo) -> tuple[str, ...]:
    if field.annotation is bool:
        return ("true", "false")
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
