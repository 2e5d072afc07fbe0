"""What single settings must look like: each rule gives the value as the program uses it, or a ValueError that says how to mend it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from app.errors import UsageError
from app.fidelity_rules import Policy
from app.object_keys import Template
from app.throttle.window import Window

DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mysql+pymysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "mariadb+pymysql": "mariadb+pymysql",
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
}
BROKERS = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss", "redis+socket": "redis+socket"}
UNVERIFIED = {"none", "cert_none", "optional", "cert_optional"}
TLS_PARAMETERS = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_cert_reqs")

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_QUESTION = re.compile(r"(?is)(\s|\(|--[^\n]*\n|#[^\n]*\n|/\*.*?\*/)*+(select|with|values|table|show)\b")
_PREFIX = re.compile(r"[A-Za-z0-9_.:/-]+")


def database_url(url: str) -> str:
    """The URL with the driver that this program brings."""
    scheme, separator, rest = url.partition("://")
    driver = DRIVERS.get(scheme.lower())
    if not separator or driver is None:
        raise ValueError("give a URL that starts with postgresql://, mysql://, mariadb:// or sqlite:///")
    if driver == "sqlite":
        if rest in {"", "/"} or ":memory:" in rest or "mode=memory" in rest:
            raise ValueError("name a file, like sqlite:////var/lib/app.db: several processes cannot share a database in memory")
        if not rest.startswith("/"):
            raise ValueError(f"a file's URL has three slashes, and four before an absolute path: sqlite:///{rest}")
        return f"sqlite://{rest}"
    name = _split(url).path.strip("/")
    if not name:
        raise ValueError(f"name the database at the end, like {scheme}://user:password@host/NAME")
    return f"{driver}://{rest}"


def broker_url(url: str) -> str:
    """The URL in the scheme that kombu knows: Valkey speaks Redis's protocol."""
    scheme, separator, rest = url.partition("://")
    if scheme.lower() in {"memory", "filesystem"}:
        raise ValueError(f"a broker of the kind {scheme} does not reach workers in other processes: give redis://host:6379/0")
    kind = BROKERS.get(scheme.lower())
    if not separator or kind is None:
        raise ValueError("give the URL of a Redis or Valkey, like redis://host:6379/0 (rediss:// with TLS)")
    parts = _split(url)
    if kind != "redis+socket":
        if not parts.hostname:
            raise ValueError(f"name the host, like {scheme}://host:6379/0")
        if not re.fullmatch(r"(/\d*)?", parts.path):
            raise ValueError(f"end it with the number of the database, like {scheme}://host:6379/0")
    _check_parameters(kind, parse_qs(parts.query, keep_blank_values=True))
    return f"{kind}://{rest}"


def _check_parameters(kind: str, given: Mapping[str, Sequence[str]]) -> None:
    """Those that kombu and redis-py know: both end with a TypeError over any other."""
    if "ssl_check_hostname" in given or UNVERIFIED & {value.lower() for value in given.get("ssl_cert_reqs", ())}:
        raise ValueError(
            "the broker's certificate must be verified: leave ssl_cert_reqs and ssl_check_hostname out, give its CA by ssl_ca_certs"
        )
    known = {"rediss": TLS_PARAMETERS, "redis+socket": ("virtual_host",)}.get(kind, ())
    unknown = [name for name in given if name not in known]
    if unknown and unknown[0] in TLS_PARAMETERS:
        raise ValueError(f"{unknown[0]} goes with rediss://")
    if unknown:
        raise ValueError(f"there is no parameter {unknown[0]!r}" + (f"; there are {', '.join(known)}" if known else " here"))
    for name in set(given) & {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}:
        if not Path(given[name][0]).is_file():
            raise ValueError(f"{name}: there is no such file: {given[name][0]}")


def s3_endpoint(url: str) -> str:
    """Scheme, host and port, and nothing else."""
    parts = _split(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"\s", parts.netloc):
        raise ValueError("give scheme and host, like https://s3.example.com or http://localhost:9000")
    if parts.username is not None or parts.password is not None:
        raise ValueError("leave user and password out of it: they have settings of their own")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("leave out what follows the host: the bucket has a setting of its own")
    return f"{parts.scheme}://{parts.netloc}"


def s3_bucket(name: str) -> str:
    """A bucket name by S3's rules."""
    if not _BUCKET.fullmatch(name):
        raise ValueError("a bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens")
    return name


def target_bucket(name: str | None) -> str | None:
    """A bucket name by S3's rules, or none."""
    return name if name is None else s3_bucket(name)


def two_buckets(source: str, target: str, text: str) -> None:
    """See that a key of the template's form tells the target bucket's objects from the source bucket's."""
    if source == target:
        raise ValueError("REKEY_TARGET_BUCKET is REKEY_S3_BUCKET: leave it out, or name another bucket")
    if not re.search(r"\w", text.partition("{")[0]):
        raise ValueError("REKEY_TARGET_BUCKET needs a REKEY_TEMPLATE that begins with a word of its own: old keys could have its form")


def existing_file(name: str | None) -> str | None:
    """A file that is there, or none."""
    if name is not None and not Path(name).is_file():
        raise ValueError("there is no such file")
    return name


def question(text: str | None) -> str | None:
    """A SELECT, or what else only asks, or none."""
    if text is not None and not _QUESTION.match(text):
        raise ValueError("give a SELECT with one value, like SELECT count(*) = 0 FROM backups WHERE running")
    return text


def hours(text: str | None) -> str | None:
    """The hours in which a run may work, or none."""
    return None if text is None else str(Window.parse(text))


def function_name(name: str | None) -> str | None:
    """``module:function``, or none."""
    if name is not None and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
        raise ValueError("give module:function, such as my_hooks:purge")
    return name


def web_url(url: str) -> str:
    """An address that is asked by HTTP; empty: none."""
    if url:
        parts = _split(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.fragment:
            raise ValueError("give a URL that starts with http:// or https://")
    return url


def queue_prefix(prefix: str) -> str:
    """What keeps two deployments on one broker apart; never empty (FACTS: they would take each other's messages)."""
    if not _PREFIX.fullmatch(prefix):
        raise ValueError("give letters, digits and . _ : / - (it keeps two deployments on one broker apart, so it cannot be empty)")
    return prefix


def template(text: str) -> str:
    """A template that gives rows keys of their own."""
    try:
        Template.parse(text, named=False)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return text


def fidelity(text: str) -> str:
    """Rules for what an object has besides its bytes."""
    Policy.parse(text)
    return text


def table_name(name: str) -> str:
    """``table`` or ``schema.table``; a part that holds a dot stands in double quotes."""
    if not 1 <= _parts(name) <= 3:  # noqa: PLR2004 - catalogue, schema, table
        raise ValueError('give table or schema.table; a part that holds a dot itself stands in double quotes, like "my.schema"."assets"')
    return name


def references(names: object) -> object:
    """The columns that name objects besides the key column, from a list or one text with commas."""
    found = [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else names
    for name in found if isinstance(found, list | tuple) else ():
        if not isinstance(name, str) or not 2 <= _parts(name) <= 4:  # noqa: PLR2004 - table.column to catalogue.schema.table.column
            raise ValueError("give table.column or schema.table.column, with commas between them")
    return found


def column_list(names: object) -> object:
    """Column names from a list or one text, as one text with commas."""
    found = names.split(",") if isinstance(names, str) else names
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) and name.strip() for name in found):
        raise ValueError("give the columns' names with commas between them")
    stripped = [name.strip() for name in found]
    if len(set(stripped)) < len(stripped):
        raise ValueError("name each column once")
    return ",".join(stripped)


def yes_or_no(value: object) -> bool:
    """True or false, from a truth value or from one of the two words."""
    words = {"true": True, "false": False}
    known = value if isinstance(value, bool) else words.get(value.strip().lower()) if isinstance(value, str) else None
    if known is None:
        raise ValueError("give true or false")
    return known


def none_if_empty(value: object) -> object:
    """An empty text stands for "not given": that is how a flag takes a setting back."""
    return None if value == "" else value


def password_of(url: str) -> str | None:
    """The password in a URL as its server sees it, if *url* is one and has one."""
    found = urlsplit(url).password if "://" in url else None
    return unquote(found) if found else None


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("it cannot be read as a URL: write / ? # @ : in user and password as %2F %3F %23 %40 %3A") from None
    return parts


def _parts(name: str) -> int:
    """How many parts *name* has between dots that are not quoted; 0 if one is empty or a quote is open."""
    parts = re.findall(r'(?:"[^"]+"|[^".]+)(?:\.|$)', name)
    whole = "".join(parts) == name and not name.endswith(".")
    return len(parts) if whole else 0
