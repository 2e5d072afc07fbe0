"""Where the keys to the object store come from: the settings, a profile in AWS's shared files, or the environment with what runs it.

Whatever can change while a worker runs (a file that is written anew, keys of a role that expire) is seen at the next request.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import urllib3
from minio.credentials.credentials import Credentials
from minio.credentials.providers import AWSConfigProvider, EnvAWSProvider, IamAwsProvider, Provider, StaticProvider
from minio.error import MinioException

from app.errors import MissingKeysError, NoKeysError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.settings import Settings

ROLE_SECONDS = 5.0  # that the endpoint of a role's keys may take


def provider_of(settings: Settings) -> Provider:
    """The source of the keys that *settings* ask for. Nothing is read yet."""
    if settings.s3_credentials == "keys":
        return StaticProvider(settings.s3_access_key.get_secret_value(), settings.s3_secret_key.get_secret_value())
    profile = ProfileProvider(settings.s3_profile)
    if settings.s3_credentials == "profile":
        return SteadyProvider([profile], "REKEY_S3_CREDENTIALS=profile")
    pool = urllib3.PoolManager(retries=urllib3.Retry(total=2, backoff_factor=0.2), timeout=urllib3.Timeout(total=ROLE_SECONDS))
    role = IamAwsProvider(custom_endpoint=os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"), http_client=pool)
    return SteadyProvider([EnvAWSProvider(), profile, role], "REKEY_S3_CREDENTIALS=environment")


class ProfileProvider(Provider):
    """A profile in ~/.aws/credentials or what AWS_SHARED_CREDENTIALS_FILE names, else in ~/.aws/config or what AWS_CONFIG_FILE names.

    A file is read again when it has changed.
    """

    def __init__(self, profile: str | None) -> None:
        """*profile*: AWS_PROFILE or the default one if none is given."""
        self._profile = profile or os.environ.get("AWS_PROFILE") or "default"
        folder = Path("~/.aws").expanduser()
        config = self._profile if self._profile == "default" else f"profile {self._profile}"
        self._places = (
            (Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or folder / "credentials"), self._profile),
            (Path(os.environ.get("AWS_CONFIG_FILE") or folder / "config"), config),
        )
        self._known: tuple[object, Credentials] | None = None

    def retrieve(self) -> Credentials:
        """The keys as the files have them now. Raises ValueError where they have none."""
        state = [_state(path) for path, _ in self._places]
        known = self._known
        if known is None or known[0] != state:
            known = self._known = (state, self._read())
        return known[1]

    def _read(self) -> Credentials:
        for path, section in self._places:
            try:
                return AWSConfigProvider(str(path), section).retrieve()
            except (ValueError, OSError):
                continue
        raise ValueError(f"no keys of the profile {self._profile!r} in {' or '.join(str(path) for path, _ in self._places)}")


class SteadyProvider(Provider):
    """The first of some sources that has keys, and then always that one; the same object as long as the keys are the same."""

    def __init__(self, sources: Sequence[Provider], setting: str) -> None:
        """*setting*: what asked for it."""
        self._sources = list(sources)
        self._setting = setting
        self._known: Credentials | None = None
        self._lock = threading.Lock()  # a role's keys are fetched by one task, not by all at once

    def retrieve(self) -> Credentials:
        """The keys to sign with now.

        Raises:
            MissingKeysError: No source has any; where they were looked for is said, and no secret.
            NoKeysError: One that is asked over the network gave none.
        """
        with self._lock:
            now = self._retrieve()
            if self._known is None or now != self._known:
                self._known = now
            return self._known

    def _retrieve(self) -> Credentials:
        said: list[str] = []
        for source in self._sources:
            try:
                found = source.retrieve()
            except (ValueError, OSError, KeyError, MinioException, urllib3.exceptions.HTTPError) as error:
                said.append(f"{type(source).__name__}: {type(error).__name__ if isinstance(error, KeyError) else error}")
                continue
            self._sources = [source]
            return found
        line = f"{self._setting} gives no keys to the object store: {'; '.join(said)}"
        if any(isinstance(source, IamAwsProvider) for source in self._sources):
            raise NoKeysError(line)
        raise MissingKeysError(f"{line}; write them there, or choose another REKEY_S3_CREDENTIALS or REKEY_S3_PROFILE")


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
