"""A certificate authority of the tests' own, and real servers that speak TLS with its certificates as long as a test wants."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from app.embedded.place import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import RedisServer, SqlServer

HOST = "localhost"  # that the certificates are for


class Authority:
    """Signs certificates of servers; ``ca`` is its own."""

    def __init__(self, folder: Path, name: str) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("there is no openssl on PATH")
        self._folder = folder
        self.ca, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")  # Python 3.13 and later take no authority without (RFC 5280)
        made = ("-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.ca)
        _openssl("req", "-x509", *made, *usage)

    def certify(self, name: str) -> tuple[Path, Path]:
        """Certificate and key for a server that is called HOST."""
        asked, certificate, key, more = (self._folder / f"{name}.{kind}" for kind in ("csr", "crt", "key", "ext"))
        more.write_text(f"subjectAltName=DNS:{HOST}\nauthorityKeyIdentifier=keyid\n", encoding="ascii")
        _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={HOST}", "-keyout", key, "-out", asked)
        signed = ("-CA", self.ca, "-CAkey", self._key, "-CAcreateserial", "-extfile", more)
        _openssl("x509", "-req", "-days", "2", "-in", asked, "-out", certificate, *signed)
        return certificate, key


def _openssl(*args: object) -> None:
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


@contextmanager
def redis_with_tls(server: RedisServer, authority: Authority, *, user: str, password: str, rights: str) -> Iterator[str]:
    """A port with TLS beside its own; gives the URL of *user*, which has *rights*."""
    certificate, key = authority.certify("redis")
    (port,) = Place.draw(1).ports
    with redis.Redis.from_url(server.url) as client:
        values = {"tls-cert-file": certificate, "tls-key-file": key, "tls-auth-clients": "no", "tls-port": port}
        try:
            for name, value in values.items():
                client.config_set(name, str(value))
        except redis.ResponseError as error:
            pytest.skip(f"this broker was built without TLS: {error}")
        client.execute_command("ACL", "SETUSER", user, "reset", "on", f">{password}", *rights.split())
        yield f"rediss://{user}:{password}@{HOST}:{port}/0"
        client.execute_command("ACL", "DELUSER", user)
        client.config_set("tls-port", "0")


@contextmanager
def postgres_with_tls(server: SqlServer, authority: Authority) -> Iterator[None]:
    """TLS on its port, at wish of the client."""
    certificate, key = authority.certify("postgres")
    engine = create_engine(server.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        data = Path(str(connection.execute(text("SHOW data_directory")).scalar()))
        for source in (certificate, key):  # the server reads its key only where it alone may
            place = Path(shutil.copy(source, data))
            place.chmod(0o600)
            shutil.chown(place, data.owner())
        for name, value in (("ssl_cert_file", certificate.name), ("ssl_key_file", key.name), ("ssl", "on")):
            connection.execute(text(f"ALTER SYSTEM SET {name} = '{value}'"))
        connection.execute(text("SELECT pg_reload_conf()"))
    try:
        yield
    finally:
        with engine.connect() as connection:
            connection.execute(text("ALTER SYSTEM RESET ALL"))
            connection.execute(text("SELECT pg_reload_conf()"))
        engine.dispose()


def over_tls(url: str, ca: Path, *, host: str = HOST, password: str = "") -> str:
    """*url* of a PostgreSQL database, its server's certificate and name verified; with another *password*, if one is given."""
    verified = make_url(url).set(host=host, query={"sslmode": "verify-full", "sslrootcert": str(ca)})
    return (verified.set(password=password) if password else verified).render_as_string(hide_password=False)
