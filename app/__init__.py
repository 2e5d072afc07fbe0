"""asset-rekey: new keys for the objects of a live bucket, driven by the rows of a table.

``celery -A app`` finds the Celery instance here; it is made on first use, so that ``import app.states`` needs no Celery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery

    celery: Celery


def __getattr__(name: str) -> Any:  # noqa: ANN401 - what a module's attribute is cannot be said more closely
    if name in {"celery", "app"}:
        from app.celery_app import celery  # noqa: PLC0415 - see the module's docstring

        return celery
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
