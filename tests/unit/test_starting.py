"""What an endpoint must honour before a run starts there."""

from __future__ import annotations

import dataclasses

import pytest

from app.cli.starting import refuse_unsafe
from app.errors import UsageError
from app.settings import Settings
from app.testing.versions import CONDITIONAL, LIKE_MINIO


@pytest.mark.parametrize(("mode", "refused"), [("auto", False), ("server", False), ("worker", True)])
def test_worker_copies_only_where_a_put_can_be_refused(mode: str, *, refused: bool) -> None:
    """By the setting that asks for it; a CopyObject that the store can refuse is no way of the worker's."""
    seen = dataclasses.replace(CONDITIONAL.capabilities(), put_if_absent=False, put_if_match=False)
    settings = Settings(s3_bucket="assets", copy_mode=mode)

    if not refused:
        refuse_unsafe(settings, seen)
        return
    with pytest.raises(UsageError, match=r"does not honour PUT If-None-Match, PUT If-Match: leave REKEY_COPY out"):
        refuse_unsafe(settings, seen)


def test_store_without_any_safe_write_is_taken_on_the_operators_word_alone() -> None:
    """It is told how to give it."""
    seen = dataclasses.replace(LIKE_MINIO.capabilities(), put_if_absent=False)

    refuse_unsafe(Settings(s3_bucket="assets", copy_mode="server"), seen)
    with pytest.raises(UsageError, match=r"PUT If-None-Match: set REKEY_COPY=server if nobody else writes"):
        refuse_unsafe(Settings(s3_bucket="assets"), seen)
