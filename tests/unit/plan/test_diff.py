"""The generic diff, against dictionaries of anything."""

from hypothesis import given
from hypothesis import strategies as st

from kcompile.program import Change, apply_changes, diff, digest
from kcompile.targets.xtables.keys import ChainKey, JumpKey

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


@given(programs, programs)
def test_equal_programs_have_equal_digests_and_no_others(a, b):
    one, two = ({ChainKey("ip4", *map(str, key)): (str(value),) for key, value in p.items()} for p in (a, b))
    assert (digest(one) == digest(two)) == (one == two)
    assert digest(dict(reversed(one.items()))) == digest(one)


def test_a_digest_tells_keys_of_two_kinds_apart():
    assert digest({JumpKey("ip4", "nat", "A", "B"): ""}) != digest({ChainKey("ip4", "nat", "A"): ("B", "")})
    assert digest({ChainKey("ip4", "nat", "A"): ("B",)}) != digest({ChainKey("ip4", "nat", "A"): "B"})
