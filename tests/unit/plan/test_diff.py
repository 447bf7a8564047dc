"""The generic diff, against dictionaries of anything."""

from hypothesis import given
from hypothesis import strategies as st

from kcompile.program import Change, apply_changes, diff

programs = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.integers(0, 9)), st.integers(1, 3), max_size=12
)


@given(programs, programs)
def test_apply_of_the_diff_gives_the_desired_program(a, b):
    assert apply_changes(a, diff(a, b)) == b


@given(programs, programs)
def test_only_what_differs_changes(a, b):
    changed = {c.key for c in diff(a, b)}
    assert changed == {k for k in {**a, **b} if a.get(k) != b.get(k)}


@given(programs)
def test_nothing_changes_when_nothing_differs(a):
    assert diff(a, dict(a)) == ()


def test_actions():
    assert [c.action for c in diff({("x",): 1, ("y",): 1}, {("y",): 2, ("z",): 3})] == [
        "delete",
        "update",
        "create",
    ]
    assert Change(("x",), None, 1).action == "create"
