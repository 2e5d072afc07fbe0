"""A Django service with django-storages that serves assets and takes uploads.

Started by ``python -m tests.acceptance.services.django_service PORT``, with SERVICE_... in its environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import django
from django.conf import settings
from sqlalchemy.engine import make_url

from tests.acceptance.services import serving

if TYPE_CHECKING:
    from django.http import HttpRequest

_database = make_url(serving.DATABASE_URL)
settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1"],
    SECRET_KEY="of a test",
    USE_TZ=True,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _database.database,
            "USER": _database.username,
            "PASSWORD": _database.password or "",
            "HOST": _database.host or _database.query.get("host", ""),
            "PORT": _database.port or "",
            "CONN_MAX_AGE": 0,
        }
    },
    STORAGES={
        "default": {
            "BACKEND": "storages.backends.s3.S3Storage",
            "OPTIONS": {
                "bucket_name": serving.BUCKET,
                "endpoint_url": serving.ENDPOINT,
                "access_key": serving.ACCESS_KEY,
                "secret_key": serving.SECRET_KEY,
                "region_name": "us-east-1",
                "addressing_style": "path",
                "signature_version": "s3v4",
                "file_overwrite": False,
            },
        },
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    },
)
django.setup()

from django.core.files.base import ContentFile  # noqa: E402 - these need the settings
from django.core.files.storage import default_storage  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import models  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402

from app.client.asset_rekey_client import read_asset, upload_key  # noqa: E402


class Asset(models.Model):
    """A row of the service's own table."""

    id = models.BigIntegerField(primary_key=True)
    client_id = models.BigIntegerField()
    object_key = models.TextField()
    title = models.TextField(null=True)  # noqa: DJ001 - the table is as it is

    class Meta:
        """The table is there already."""

        app_label = "service"
        managed = False
        db_table = serving.TABLE

    def __str__(self) -> str:
        return f"asset {self.pk}"


def show(_request: HttpRequest, pk: int) -> HttpResponse:
    """The object of a row."""
    reads = 0

    def read_key() -> str:
        nonlocal reads
        reads += 1
        return Asset.objects.values_list("object_key", flat=True).get(pk=pk)

    def fetch(key: str) -> bytes:
        with default_storage.open(key) as file:
            return file.read()

    late = serving.slowly(fetch, pk)
    body = read_asset(read_key, late) if serving.CLIENT_FILE else late(read_key())
    return HttpResponse(body, headers={"X-Row-Reads": str(reads)})


@csrf_exempt
def upload(request: HttpRequest, pk: int, client_id: int, name: str) -> HttpResponse:
    """A new row with its object, under the new scheme from the start."""
    key = default_storage.save(upload_key(client_id, name), ContentFile(request.body))
    Asset.objects.create(pk=pk, client_id=client_id, object_key=key, title=name)
    return HttpResponse(key)


urlpatterns = [path("assets/<int:pk>", show), path("assets/<int:pk>/<int:client_id>/<str:name>", upload)]

if __name__ == "__main__":
    serving.serve(get_wsgi_application())
