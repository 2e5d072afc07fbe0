"""The places that settings come from: flags, the environment, rekey.toml. Each knows what to call the place of a value in a refusal."""

from __future__ import annotations

import difflib
import tomllib
from typing import TYPE_CHECKING, Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from app.errors import UsageError
from app.settings_table import PREFIX, TWIN, env_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from pydantic.fields import FieldInfo

FILE_NAME = "rekey.toml"
ONE_ENDPOINT = "both buckets are of one endpoint, which copies from one into the other: REKEY_S3_ENDPOINT and its keys are for both"
NO_SETTINGS = frozenset({"config", "debug", "flower_open"})  # the file, tracebacks, and what app.dashboard reads


class Source(PydanticBaseSettingsSource):
    """The values that one place gives, each with the words for where it stands."""

    def __init__(self, settings_class: type[BaseSettings], values: Mapping[str, Any], places: Mapping[str, str]) -> None:
        super().__init__(settings_class)
        self.values = dict(values)
        self.places = dict(places)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - pydantic's signature
        """The value of one field as it was written."""
        return self.values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All values, for pydantic to lay over those of the places that weigh less."""
        return self.values


def from_flags(settings_class: type[BaseSettings], flags: Mapping[str, object]) -> Source:
    """The flags that were given; None stands for one that was not."""
    given = {name: value for name, value in flags.items() if value is not None}
    return Source(settings_class, given, {name: "--" + name.replace("_", "-") for name in given})


def from_environment(
    settings_class: type[BaseSettings], environ: Mapping[str, str], *, names: Collection[str], secrets: Collection[str], folder: Path
) -> Source:
    """The variables that start with REKEY_; an empty one counts as not set, since Compose passes on unset ones so.

    Raises:
        UsageError: A name is none of ours, a secret is given twice, or its file cannot be read.
    """
    given = {name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX) and value}
    given = {name: value for name, value in given.items() if name not in NO_SETTINGS}
    places = {name: env_name(name) for name in given}
    return _source(settings_class, given, places, names=names, secrets=secrets, folder=folder, spell=env_name)


def from_file(settings_class: type[BaseSettings], path: Path, *, names: Collection[str], secrets: Collection[str]) -> Source:
    """The keys of a TOML file, named as the settings in small letters.

    Raises:
        UsageError: The file cannot be read or is no TOML, a key is none of ours or of a wrong type, a secret is given twice.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the settings file {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"the settings file {path} is no TOML: {error}") from None
    places = {name: f"{path}: {name}" for name in given}
    source = _source(settings_class, given, places, names=names, secrets=secrets, folder=path.parent, spell=str)
    for name, value in source.values.items():
        field = settings_class.model_fields.get(name)
        kind = field.annotation if field else None
        taken = str | int | float if kind is float else str | int | list
        if (isinstance(value, bool) and kind is not bool) or not isinstance(value, taken):
            instead = "a number, or a text in quotes" if kind is float else "a text in quotes, a whole number or a list of texts"
            raise UsageError(f"{places[name]}: give {instead}")
    return source


def find_file(config: str | None, environ: Mapping[str, str], folder: Path) -> Path | None:
    """The settings file: the one named by --config or REKEY_CONFIG, else rekey.toml in *folder* if it is there."""
    named = config or environ.get(env_name("config"))
    if named:
        return folder / named
    usual = folder / FILE_NAME
    return usual if usual.is_file() else None


def _source(
    settings_class: type[BaseSettings],
    given: Mapping[str, Any],
    places: dict[str, str],
    *,
    names: Collection[str],
    secrets: Collection[str],
    folder: Path,
    spell: Callable[[str], str],
) -> Source:
    known = {*names, *(name + TWIN for name in secrets)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        secret = name.removesuffix(TWIN)
        if name in names:
            values[name] = value
        elif name.endswith(TWIN) and secret in secrets:
            if secret in given:
                raise UsageError(f"{places[secret]} and {places[name]} are both given: keep one")
            values[secret] = _read_secret(folder / str(value), places[name])
            places[secret] = places[name]
        elif name.startswith("target_"):
            raise UsageError(f"{places[name]} is no setting: {ONE_ENDPOINT} (docs/operating.md, Into another bucket)")
        else:
            alike = _suggestion(name, known)
            raise UsageError(f"{places[name]} is no setting" + (f": did you mean {spell(alike)}?" if alike else ""))
    return Source(settings_class, values, places)


def _suggestion(name: str, known: Collection[str]) -> str | None:
    alike = [other for other in known if other.startswith(name + "_")] or difflib.get_close_matches(name, known, n=1)
    return min(alike, default=None)


def _read_secret(path: Path, place: str) -> str:
    try:
        secret = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise UsageError(f"{place}: the file {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"{place}: the file {path} holds no UTF-8 text") from None
    if not secret:
        raise UsageError(f"{place}: the file {path} is empty")
    return secret
