"""What doctor, plan and dev ask about the bucket as a whole: through minio's own client where ``app.s3_client`` lacks it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import urllib3
from minio import Minio
from minio.commonconfig import ENABLED
from minio.error import MinioAdminException, MinioException, S3Error
from minio.minioadmin import MinioAdmin
from minio.versioningconfig import VersioningConfig
from minio.xml import unmarshal

from app import s3_bucket
from app.errors import DeniedError, StoreRequestError, StoreUnavailableError
from app.s3_errors import store_error
from app.s3_http import tls_context
from app.s3_multipart import success

if TYPE_CHECKING:
    from collections.abc import Callable

    from minio.credentials.providers import Provider

    from app.errors import ObjectError
    from app.s3_bucket import Lifecycle, Notice, Replication
    from app.s3_client import S3Client

_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Access:
    """How minio's clients reach an endpoint."""

    host: str
    secure: bool
    region: str
    provider: Provider
    timeout: float
    ca_file: str | None

    @cached_property
    def client(self) -> Minio:
        """For S3."""
        return Minio(self.host, secure=self.secure, region=self.region, credentials=self.provider, http_client=self._pool())

    def admin(self) -> MinioAdmin:
        """For MinIO's administration."""
        return MinioAdmin(endpoint=self.host, secure=self.secure, region=self.region, credentials=self.provider, http_client=self._pool())

    def _pool(self) -> urllib3.PoolManager:
        return urllib3.PoolManager(
            retries=False,
            timeout=urllib3.Timeout(total=self.timeout),
            ssl_context=tls_context(self.ca_file) if self.secure else None,
        )


class MinioBucket:
    """One bucket of one S3 endpoint, and what is set for it."""

    def __init__(self, client: S3Client, bucket: str, access: Access) -> None:
        self._client = client
        self._bucket = bucket
        self._access = access

    def bucket_exists(self) -> bool:
        """Whether the bucket is there and may be looked at."""
        return bool(self._control(lambda client: client.bucket_exists(self._bucket)))

    def make_bucket(self) -> None:
        """Make the bucket (demo, dev up)."""
        self._control(lambda client: client.make_bucket(self._bucket))

    def is_versioned(self) -> bool:
        """Whether a DELETE leaves a marker (suspended versioning keeps nothing: H7)."""
        body = success(self._client.read("GET", None, {"versioning": ""}), self._bucket)
        try:
            return unmarshal(VersioningConfig, body.decode()).status == ENABLED
        except (SyntaxError, ValueError) as error:  # ElementTree's ParseError is a SyntaxError
            raise StoreRequestError(self._bucket, f"GetBucketVersioning: {error}") from error

    def notices(self) -> list[Notice]:
        """Who is told of events."""
        return s3_bucket.notices(self._client, self._bucket)

    def lifecycle(self) -> list[Lifecycle]:
        """What becomes of objects in time."""
        return s3_bucket.lifecycle(self._client, self._bucket)

    def replication(self) -> list[Replication]:
        """Where objects are copied to."""
        return s3_bucket.replication(self._client, self._bucket)

    def quota(self) -> int | None:
        """Most bytes that the bucket may hold: S3 knows no such thing, MinIO's administration does."""
        admin = self._access.admin()
        try:
            answer = json.loads(self._control(lambda _client: admin.bucket_quota_get(self._bucket)))
        except MinioAdminException as error:
            raise _admin_error(self._bucket, error) from error
        except ValueError as error:
            raise StoreRequestError(self._bucket, f"quota: {error}") from error
        size = (answer.get("size") or answer.get("quota")) if isinstance(answer, dict) else None
        return size if isinstance(size, int) and size > 0 else None

    def _control(self, call: Callable[[Minio], _Result]) -> _Result:
        try:
            return call(self._access.client)
        except S3Error as error:
            raise store_error(self._bucket, status=error.response.status, code=error.code or "", message=error.message or "") from error
        except (MinioException, ValueError) as error:
            raise StoreRequestError(self._bucket, str(error)) from error
        except urllib3.exceptions.HTTPError as error:
            raise StoreUnavailableError(f"{self._access.host}: {error}") from error


def _admin_error(bucket: str, error: MinioAdminException) -> ObjectError:
    """What a refusal of MinIO's administration means; a store of another make knows none of it."""
    kind = DeniedError if error._code in {"401", "403"} else StoreRequestError  # noqa: SLF001 - it tells its status nowhere else
    return kind(bucket, f"status {error._code} from MinIO's administration")  # noqa: SLF001
