"""Properties of new keys and of key equivalence that hold for any names."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from app.errors import UsageError
from app.object_keys import Equivalence, KeyRefusedError, Template, key_hash
from app.states import ParkedReason

anything = st.one_of(
    st.none(),
    st.text(max_size=40),
    st.text(alphabet="ab./\\ \0\n", max_size=12),
    st.integers(),
    st.booleans(),
    st.uuids(),
    st.binary(max_size=8),
    st.floats(),
    st.decimals(),
    st.dates(),
    st.datetimes(),
)
ONCE = {"{file_name}", "{key}"}  # fields that a template may hold once
names = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="/\0{}"), min_size=1, max_size=20).filter(
    lambda text: bool(text.strip())
)
# Half of them from types that a key can be made of: else most examples are thrown away, and Hypothesis gives up now and then.
clients = st.sampled_from([names | st.integers() | st.uuids(), anything]).flatmap(lambda chosen: chosen)
keys = st.lists(names, min_size=1, max_size=5).map("/".join)
spellings = st.text(alphabet="aA/\\.é", max_size=10)
equivalences = st.builds(
    Equivalence,
    folds_leading_slash=st.booleans(),
    folds_double_slash=st.booleans(),
    folds_backslash=st.booleans(),
    folds_case=st.booleans(),
    folds_dots=st.booleans(),
    folds_unicode=st.booleans(),
)
fields = st.sampled_from(["{client_id}", "{file_name}", "{key}", "{col.tag}"])
literals = st.text(alphabet="ab-/. ", max_size=6)


@st.composite
def templates(draw: st.DrawFn) -> Template:
    """A template that parses, with up to four fields between literals."""
    drawn = draw(st.lists(fields, min_size=1, max_size=4))
    chosen = [field for place, field in enumerate(drawn) if field not in ONCE or field not in drawn[:place]]
    text = draw(literals) + "".join(field + draw(literals) for field in chosen)
    try:
        return Template.parse(text, named=draw(st.booleans()))
    except UsageError:
        assume(False)  # noqa: FBT003 - Hypothesis's own signature
        raise


@given(client=anything, name=anything, old=anything)
def test_new_key_stays_under_its_client_for_any_values(client: object, name: object, old: object) -> None:
    """A key is refused with a reason or lies directly under the client's own prefix."""
    template = Template.parse("clients/{client_id}/assets/{file_name}", named=True)

    try:
        key = template.new_key(old, client, name, {})
    except KeyRefusedError as error:
        refused = error.reason
    else:
        refused = None
        first, second, third, last = key.split("/")
        assert (first, third) == ("clients", "assets")
        assert not {".", "..", ""} & {second, last}
        assert len(key.encode()) <= 1024

    assert refused in {None, ParkedReason.BAD_NAME, ParkedReason.TOO_LONG}


@given(client=st.integers(), name=names)
def test_new_key_gives_back_what_it_was_made_of(client: int, name: str) -> None:
    """The client id and the file name can be read from the key again: two rows that differ in one get different keys."""
    assume(name not in {".", ".."} and len(name.encode()) <= 255)

    key = Template.parse("clients/{client_id}/assets/{file_name}", named=False).new_key(f"up/{name}", client, None, {})

    assert [str(client), name] == key.split("/")[1::2]


@given(template=templates(), old=keys, client=clients, name=names, tag=names)
def test_new_key_is_in_place_for_every_template(template: Template, old: str, client: object, name: str, tag: str) -> None:
    """Every template is a fixed point: what it made has its form, so that a second run moves nothing (H34)."""
    try:
        key = template.new_key(old, client, name, {"tag": tag})
    except KeyRefusedError:
        assume(False)  # noqa: FBT003 - Hypothesis's own signature
        return

    assert template.is_in_place(key, client, {"tag": tag})


@given(old=keys, client=names | st.integers(), other=names | st.integers())
def test_is_in_place_never_accepts_the_key_of_another_client(old: str, client: object, other: object) -> None:
    """A key under one client's prefix is not in place for another client."""
    template = Template.parse("clients/{client_id}/assets/{file_name}", named=False)
    try:
        theirs = template.new_key(old, other, None, {})
        mine = template.new_key(old, client, None, {})
    except KeyRefusedError:
        assume(False)  # noqa: FBT003 - Hypothesis's own signature
        return

    assert (mine == theirs) == template.is_in_place(theirs, client, {})


@given(equivalence=equivalences, one=spellings, other=spellings, third=spellings)
def test_same_is_an_equivalence(equivalence: Equivalence, one: str, other: str, third: str) -> None:
    """Sameness is reflexive, symmetric and transitive, and a canonical key is its own canonical key."""
    same = equivalence.same

    assert same(one, one)
    assert same(one, other) == same(other, one)
    assert not (same(one, other) and same(other, third)) or same(one, third)
    assert equivalence.canonical(one) == equivalence.canonical(equivalence.canonical(one))


@given(equivalence=equivalences, key=spellings)
def test_variants_are_few_and_name_the_same_object(equivalence: Equivalence, key: str) -> None:
    """The list holds the key and its canonical form, nothing of another object, and stays short."""
    variants = equivalence.variants(key)

    assert {key, equivalence.canonical(key)} <= set(variants)
    assert all(equivalence.same(key, variant) for variant in variants)
    assert len(variants) == len(set(variants)) <= 120


@given(first=st.tuples(st.text(), st.text()), second=st.tuples(st.text(), st.text()))
def test_key_hash_tells_bucket_and_key_apart(first: tuple[str, str], second: tuple[str, str]) -> None:
    """Equal hashes mean equal bucket and equal key, wherever the border between the two lies."""
    assert (first == second) == (key_hash(*first) == key_hash(*second))
