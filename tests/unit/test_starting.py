"""What an endpoint must honour before a run starts there."""

from __future__ import annotations

import dataclasses

import pytest

from app.cli.starting import OWN_KEYS, refuse_unsafe
from app.errors import UsageError
from app.settings import Settings
from app.testing import Behaviour
from app.testing.versions import CONDITIONAL, LIKE_AWS, LIKE_MINIO, LIKE_SEAWEED, LIKE_VERSITYGW


@pytest.mark.parametrize("mode", ["auto", "server", "worker"])
@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("put_if_absent", "PUT If-None-Match"),
        ("put_if_match", "PUT If-Match"),
        ("complete_if_absent", "If-None-Match on CompleteMultipartUpload"),
        ("complete_if_match", "If-Match on CompleteMultipartUpload"),
    ],
)
def test_store_whose_puts_or_uploads_cannot_be_refused_needs_the_operators_word(mode: str, condition: str, words: str) -> None:
    """Also where its CopyObject can: a copy goes by PUT or parts where that keeps more of an object, and so do bytes that are put back."""
    seen = dataclasses.replace(CONDITIONAL.capabilities(), **{condition: False})
    settings = Settings(s3_bucket="assets", copy_mode=mode)

    if mode == "server":
        refuse_unsafe(settings, seen)
        return
    with pytest.raises(UsageError, match=f"does not honour {words}: set REKEY_COPY=server if nobody else writes"):
        refuse_unsafe(settings, seen)


@pytest.mark.parametrize("behaviour", [CONDITIONAL, LIKE_MINIO, LIKE_AWS, LIKE_SEAWEED, LIKE_VERSITYGW])
@pytest.mark.parametrize("mode", ["auto", "server", "worker"])
def test_known_stores_are_taken(behaviour: Behaviour, mode: str) -> None:
    """None of them needs anybody's word."""
    refuse_unsafe(Settings(s3_bucket="assets", copy_mode=mode), behaviour.capabilities())


def test_store_without_any_safe_write_is_taken_on_the_operators_word_alone() -> None:
    """It is told how to give it."""
    seen = dataclasses.replace(LIKE_MINIO.capabilities(), put_if_absent=False)

    refuse_unsafe(Settings(s3_bucket="assets", copy_mode="server"), seen)
    with pytest.raises(UsageError, match=r"PUT If-None-Match: set REKEY_COPY=server if nobody else writes"):
        refuse_unsafe(Settings(s3_bucket="assets"), seen)


def test_rollback_goes_by_nobodys_word() -> None:
    """Old keys are the application's own, so the remedy is not one that would not be heard."""
    seen = dataclasses.replace(LIKE_MINIO.capabilities(), put_if_absent=False)

    with pytest.raises(
        UsageError, match=r"PUT If-None-Match: a rollback writes under the application's own keys, so it needs a store that does"
    ):
        refuse_unsafe(Settings(s3_bucket="assets"), seen, remedy=OWN_KEYS)
