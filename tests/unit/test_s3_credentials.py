"""Keys to the object store from a profile, the environment and a role: found, seen to change, fetched anew, and never shown."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from app.errors import MissingKeysError, NoKeysError, TransientError, UsageError
from app.s3_credentials import provider_of
from app.settings import Settings, load
from tests.unit.test_settings import GIVEN

if TYPE_CHECKING:
    from pathlib import Path


class Role:
    """An endpoint that gives a container keys, other ones each time."""

    def __init__(self) -> None:
        self.lifetime = timedelta(hours=1)
        self.given = 0
        role = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                role.given += 1
                until = (datetime.now(UTC) + role.lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
                keys = {"AccessKeyId": f"role-{role.given}", "SecretAccessKey": "role-secret", "Token": "token", "Expiration": until}
                body = json.dumps(keys).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/keys"


@pytest.fixture(autouse=True)
def _nothing_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def role(monkeypatch: pytest.MonkeyPatch) -> Iterator[Role]:
    """The role of the container that the worker runs in."""
    made = Role()
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", made.url)
    yield made
    made.server.shutdown()
    made.server.server_close()


def settings(folder: Path, **given: str) -> Settings:
    """Settings without keys."""
    environ = {name: value for name, value in GIVEN.items() if not name.endswith(("ACCESS_KEY", "SECRET_KEY"))}
    return load({}, environ=environ | {f"REKEY_{name}": value for name, value in given.items()}, folder=folder)


def write(path: Path, section: str, key: str) -> None:
    """A shared file with one profile."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"[{section}]\naws_access_key_id = {key}\naws_secret_access_key = file-secret\n", encoding="utf-8")


def test_keys_are_asked_for_where_nothing_else_is_said(tmp_path: Path) -> None:
    """As ever."""
    with pytest.raises(UsageError, match="REKEY_S3_ACCESS_KEY, REKEY_S3_SECRET_KEY"):
        settings(tmp_path)


def test_profile_is_found_and_seen_to_change(tmp_path: Path) -> None:
    """The same object as long as the file is the same, other keys when it was written anew."""
    file = tmp_path / ".aws/credentials"
    write(file, "mover", "first")
    provider = provider_of(settings(tmp_path, S3_CREDENTIALS="profile", S3_PROFILE="mover"))
    first = provider.retrieve()
    write(file, "mover", "second-key")

    assert provider.retrieve().access_key == "second-key"
    assert (first.access_key, provider.retrieve()) == ("first", provider.retrieve())
    assert provider.retrieve() is provider.retrieve()


def test_profile_of_the_other_file_and_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """~/.aws/config calls it otherwise; AWS_PROFILE names one where the settings do not."""
    write(tmp_path / ".aws/config", "profile night", "of-config")
    monkeypatch.setenv("AWS_PROFILE", "night")

    assert provider_of(settings(tmp_path, S3_CREDENTIALS="profile")).retrieve().access_key == "of-config"


def test_environment_comes_first_then_the_files_then_the_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: Role) -> None:
    """Each where the one before has nothing."""
    chosen = settings(tmp_path, S3_CREDENTIALS="environment")
    of_role = provider_of(chosen).retrieve()
    write(tmp_path / ".aws/credentials", "default", "of-file")
    of_file = provider_of(chosen).retrieve()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    assert (of_role.access_key, of_role.session_token, role.given) == ("role-1", "token", 1)
    assert of_file.access_key == "of-file"
    assert provider_of(chosen).retrieve().access_key == "of-environment"


def test_keys_of_a_role_are_fetched_anew_before_they_expire(tmp_path: Path, role: Role) -> None:
    """Once for as long as they last."""
    provider = provider_of(settings(tmp_path, S3_CREDENTIALS="environment"))
    assert [provider.retrieve().access_key for _ in range(3)] == ["role-1"] * 3
    role.lifetime = timedelta(seconds=5)  # within the ten seconds that keys must last
    other = provider_of(settings(tmp_path, S3_CREDENTIALS="environment"))

    assert [other.retrieve().access_key for _ in range(3)] == ["role-2", "role-3", "role-4"]


def test_lack_of_keys_is_an_outage_to_workers_that_says_where_they_were_looked_for(tmp_path: Path) -> None:
    """A file may be written anew just now; and no secret is shown."""
    file = tmp_path / ".aws/credentials"
    file.parent.mkdir()
    file.write_text("[default]\naws_secret_access_key = file-secret\n", encoding="utf-8")
    provider = provider_of(settings(tmp_path, S3_CREDENTIALS="profile", S3_PROFILE="absent"))
    with pytest.raises(MissingKeysError) as caught:
        provider.retrieve()

    assert isinstance(caught.value, TransientError)
    assert str(caught.value).startswith("REKEY_S3_CREDENTIALS=profile gives no keys to the object store: ")
    assert f"'absent' in {file} or {tmp_path}/.aws/config" in str(caught.value)
    assert "REKEY_S3_PROFILE" in str(caught.value)
    assert "'absent'" in str(caught.value)
    assert "file-secret" not in str(caught.value)
    write(file, "absent", "come-at-last")
    assert provider.retrieve().access_key == "come-at-last"


def test_role_that_does_not_answer_is_no_wrong_setting(tmp_path: Path, role: Role) -> None:
    """It may answer the next time: what says so is no complaint of the store either."""
    role.server.shutdown()
    role.server.server_close()
    provider = provider_of(settings(tmp_path, S3_CREDENTIALS="environment"))
    with pytest.raises(NoKeysError) as caught:
        provider.retrieve()

    assert not isinstance(caught.value, MissingKeysError)
    assert str(caught.value).startswith("REKEY_S3_CREDENTIALS=environment gives no keys to the object store: ")
