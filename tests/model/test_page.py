"""The safety page says what the checker finds, no less and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.model import page
from tests.model.scenario import STORES
from tests.model.scenarios import BREAKING, KEEPING

if TYPE_CHECKING:
    from tests.model.page import Windows


@pytest.fixture(scope="module")
def found() -> Windows:
    """What the scenarios find in which a promise is broken."""
    return page.windows()


def test_page_says_what_is_found(found: Windows) -> None:
    """``python -m tests.model.page`` writes it anew."""
    assert page.of_page(page.PAGE.read_text()) == page.written(found)


def test_store_with_conditions_leaves_no_window_while_one_promise_at_most_is_broken(found: Windows) -> None:
    """All that remains there takes an application that breaks two of them at once."""
    open_there = {name for (name, store), windows in found.items() if store == "conditional" and windows}

    assert open_there == {scenario.name for scenario in BREAKING if scenario.any_store}


def test_each_window_has_words_and_each_word_a_window(found: Windows) -> None:
    """Of the store that ignores conditions."""
    shown = {name for (name, store), windows in found.items() if store == "like_minio" and windows}

    assert shown == {scenario.name for scenario in BREAKING if scenario.window}
    assert {"conditional", "like_minio"} == set(STORES)


def test_promises_that_are_kept_leave_no_window() -> None:
    """Those scenarios may find a violation only."""
    assert not [scenario.name for scenario in KEEPING if scenario.window]
