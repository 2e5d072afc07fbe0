"""Whatever a row is called: its key with a suffix fits, keeps the template's form, and is no other row's."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from app.assets import AssetRow
from app.key_values import MAX_KEY_BYTES, MAX_SEGMENT_BYTES
from app.object_keys import Equivalence, Template
from app.planning import Rules

TEMPLATES = ["clients/{client_id}/assets/{file_name}", "moved/{client_id}/{key}", "c/{client_id}-{file_name}.bin/v1", "{client_id}/{key}.x"]
letters = st.characters(exclude_categories=["Cs"], exclude_characters="/\0")
names = st.text(letters, min_size=1, max_size=120)
keys = st.lists(names, min_size=1, max_size=4).map("/".join)
equivalences = st.builds(Equivalence, folds_leading_slash=st.booleans(), folds_case=st.booleans(), folds_unicode=st.booleans())


def _row(number: int, key: str) -> AssetRow:
    return AssetRow(id=(number,), row_id=f"[{number}]", client=7, key=key, name=None, columns={})


@given(st.sampled_from(TEMPLATES), keys, equivalences, st.one_of(st.none(), st.integers(60, 300)))
def test_key_with_a_suffix_fits_and_is_in_place(template: str, key: str, equivalence: Equivalence, longest: int | None) -> None:
    """Within segment, key and column; a row that names it needs no move, and asks for no suffix (S9)."""
    parsed = Template.parse(template, named=False)
    rules = Rules(bucket="b", template=parsed, equivalence=equivalence, suffix_in="assets", longest_key=longest)
    plan = rules.plan(_row(5, key))
    assume(plan.own_key is not None)
    own = str(plan.own_key)
    again = rules.plan(_row(5, own))

    assert len(own.encode()) <= MAX_KEY_BYTES
    assert all(len(segment.encode()) <= MAX_SEGMENT_BYTES for segment in own.split("/"))
    assert longest is None or len(own) <= longest
    assert (again.in_place, again.own_key) == (True, None)
    assert rules.still_gives(_row(5, key), own, same_object=False)


@given(keys, keys, st.integers(1, 3), st.integers(1, 3), equivalences)
def test_rows_get_suffixes_of_their_own(one: str, other: str, first: int, second: int, equivalence: Equivalence) -> None:
    """Two rows, or two old keys of one row, never get one key with a suffix, whatever the store takes for the same."""
    assume((one, first) != (other, second))
    template = Template.parse("clients/{client_id}/assets/{file_name}", named=False)
    rules = Rules(bucket="b", template=template, equivalence=equivalence, suffix_in="assets")
    mine, yours = rules.plan(_row(first, one)), rules.plan(_row(second, other))
    assume(mine.own_hash is not None and yours.own_hash is not None)

    assert mine.own_hash != yours.own_hash
