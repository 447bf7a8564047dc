"""The decision tree: every key reaches exactly its rules, in few steps; a change stays on its own path, and
an updated tree is one that is made anew.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from kcompile.targets.iptables.tree import LEAF, STRIDE, Tree

WIDTH = 32
keys = st.sets(
    st.one_of(
        st.integers(0, 2**WIDTH - 1), st.integers(0x0A600000, 0x0A600400), st.integers(0x0A600000, 0x0A60FFFF)
    ),
    max_size=300,
)
weights = st.dictionaries(st.integers(0, 299), st.integers(1, 2 * LEAF), max_size=20)


def spell(prefix: int, length: int) -> tuple[str, str]:
    return f"{prefix:08x}/{length} ", f"{prefix:08x}-{length}"


def tree(numbers, heavy=None, default=(), levels=WIDTH // STRIDE):
    items = [
        (n, tuple(f"={n:08x}#{i}" for i in range((heavy or {}).get(j, 1))))
        for j, n in enumerate(sorted(numbers))
    ]
    made = Tree(WIDTH, spell, levels, default)
    made.update(dict(items))
    return items, {"": made.root, **made.chains}


def walk(chains, key):
    """The leaf rules that `key` reaches, and how many rules it passed."""
    name, steps, reached = "", 0, []
    while name is not None:
        following = None
        for rule in chains[name]:
            steps += 1
            if rule.startswith("="):
                if int(rule[1:9], 16) == key:
                    reached.append(rule)
            elif not rule.startswith("default"):
                match, target = rule.split(" -g ")
                prefix, length = match.split("/")
                if int(prefix, 16) >> (WIDTH - int(length)) == key >> (WIDTH - int(length)):
                    following = target
                    break
        name = following
    return reached, steps


@settings(deadline=None)
@given(keys, weights)
def test_every_key_reaches_its_rules_and_no_others(numbers, heavy):
    items, chains = tree(numbers, heavy)
    for key, rules in items:
        assert walk(chains, key)[0] == list(rules)
        for near in (key + 1, key ^ 1 << 7):
            if near not in numbers:
                assert walk(chains, near)[0] == []


@settings(deadline=None)
@given(keys)
def test_chains_are_short_and_depth_is_bounded(numbers):
    items, chains = tree(numbers)
    assert all(len(rules) <= LEAF for rules in chains.values())
    for key, _ in items:
        assert walk(chains, key)[1] <= LEAF + 2**STRIDE * WIDTH // STRIDE
    listed = [rule for rules in chains.values() for rule in rules if rule.startswith("=")]
    assert len(listed) == len(items)


def test_ten_thousand_neighbours_are_a_few_steps_away():
    items, chains = tree(range(0x0A600001, 0x0A600001 + 10_000))
    assert max(walk(chains, key)[1] for key, _ in items) <= 80


@settings(deadline=None)
@given(keys, st.integers(0, 2**WIDTH - 1))
def test_one_key_more_changes_only_chains_on_its_path(numbers, extra):
    _, before = tree(numbers - {extra})
    _, after = tree(numbers | {extra})
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    for name in changed - {""}:
        prefix, length = name.split("-")
        shift = WIDTH - int(length)
        # its own path, or the pieces of a chain on it that has just been cut or is whole again
        on_path = int(prefix, 16) >> shift == extra >> shift
        members = [n for n in numbers - {extra} if n >> shift == int(prefix, 16) >> shift]
        # or the root's rules, in a chain as soon as a key elsewhere makes another root
        was_root = before[""] == after.get(name) or after[""] == before.get(name)
        assert on_path or was_root or len(members) <= LEAF
    assert len(changed) <= WIDTH // STRIDE + 2**STRIDE + 1


@settings(deadline=None)
@given(keys)
def test_a_default_ends_every_chain_below_the_root(numbers):
    _, chains = tree(numbers, default=("default",))
    assert all(rules[-1] == "default" for name, rules in chains.items() if name)


def test_a_key_with_more_rules_than_a_leaf_keeps_them_together():
    _, chains = tree([1, 2, 3], {1: LEAF + 5})
    assert len(walk(chains, 2)[0]) == LEAF + 5


@settings(deadline=None)
@given(keys, st.integers(0, 5))
def test_no_tree_is_deeper_than_allowed(numbers, levels):
    items, chains = tree(numbers, levels=levels)

    def depth(name):
        return max((1 + depth(rule.split(" -g ")[1]) for rule in chains[name] if " -g " in rule), default=0)

    assert depth("") <= levels
    assert all(walk(chains, key)[0] == list(rules) for key, rules in items)


def test_nothing_is_no_tree():
    empty = Tree(WIDTH, spell, 6)
    assert empty.update({}) == []
    assert empty.root == ()
    assert len(empty) == 0


changes = st.lists(
    st.dictionaries(
        st.one_of(st.integers(0, 2**WIDTH - 1), st.integers(0x0A600000, 0x0A600200)),
        st.one_of(st.none(), st.integers(0, LEAF)),
        max_size=60,
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=40)
@given(changes, st.integers(1, 8))
def test_an_updated_tree_is_one_made_anew(steps, levels):
    kept, held, chains = Tree(WIDTH, spell, levels, ("default",)), {}, {}
    for step in steps:
        items = {
            n: None if count is None else tuple(f"={n:08x}#{i}" for i in range(count))
            for n, count in step.items()
        }
        held = {n: rules for n, rules in (held | items).items() if rules is not None}
        for name in kept.update(items):
            chains[name] = kept.chains.get(name)
        anew = Tree(WIDTH, spell, levels, ("default",))
        anew.update(held)
        assert kept.root == anew.root
        assert kept.chains == anew.chains
        assert {name: rules for name, rules in chains.items() if rules is not None} == anew.chains
        assert len(kept) == len(held)


def test_an_update_looks_at_one_path():
    spelled = []
    big = Tree(WIDTH, lambda *of: spelled.append(of) or spell(*of), 8)
    big.update({0x0A600000 + i: ("=",) * 3 for i in range(4096)})
    whole, spelled[:] = len(spelled), []
    assert len(big.update({0x0A600800: ("=",)})) <= 12 // STRIDE
    assert len(spelled) < whole / 50
