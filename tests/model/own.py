"""The operator's own function in a schedule (REKEY_AFTER_SWITCH): what it has seen is remembered, and it may fail, or its worker die."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.stages.own_stage import SwitchedAsset
    from tests.model.ground import Ground

NAME = "tests.model.own:see"
FAILS = "the function fails"
_grounds: list[Ground] = []


def see_for(ground: Ground) -> None:
    """Let the function be one of *ground*."""
    _grounds[:] = [ground]


def see(assets: Sequence[SwitchedAsset]) -> None:
    """What the product calls."""
    _grounds[0].shows([asset.old_key for asset in assets])
