"""Scripts: read as iptables-restore reads them they make the wanted program, and every commit on the way is
harmless.
"""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.random_dataplanes import random_dataplane
from kcompile.ir.model import Dataplane
from kcompile.program import Change, diff
from kcompile.targets.iptables import IptablesTarget
from kcompile.targets.iptables.render import render_program, scripts
from kcompile.targets.xtables.keys import ChainKey, JumpKey
from kcompile.targets.xtables.parse import parse
from unit.iptables.expectations import packets
from unit.iptables.walker import Outcome, Walker

TARGET = IptablesTarget()
seeds = st.integers(0, 2**32)
SVC = ChainKey("ip4", "nat", "KCOMPILE-SVC-A")
REJECTED = ChainKey("ip4", "filter", "KCOMPILE-DEAD")
HOOK = '-m comment --comment "kcompile: services" -j KCOMPILE-SERVICES'


def commits(program, family, script):
    """The programs after each COMMIT of `script` over `program`: iptables-restore --noflush, told in a few
    lines.
    """
    tables = {}
    for key, value in program.items():
        if key.family == family:
            chains, jumps = tables.setdefault(key.table, ({}, {}))
            if key.kind == "chain":
                chains[key.name] = list(value)
            else:
                jumps[key.hook, key.rule] = int(value or 1)
    states = []
    chains, jumps = {}, {}
    for line in script.splitlines():
        match line.split(" ", 2):
            case [table] if table.startswith("*"):
                chains, jumps = tables.setdefault(table[1:], ({}, {}))
            case [name, "-", _]:
                chains[name[1:]] = []
            case ["-A", name, rule]:
                for word in ("-j", "-g"):
                    target = rule.rpartition(f" {word} ")[2] if f" {word} " in f" {rule}" else ""
                    assert not target.startswith("KCOMPILE-") or target in chains, f"{target} isn't there yet"
                chains[name].append(rule)
            case ["-D", hook, rule]:
                jumps[hook, rule] -= 1
                if not jumps[hook, rule]:
                    del jumps[hook, rule]
            case ["-I", hook, rule]:
                assert rule.startswith("1 ")
                jumps[hook, rule[2:]] = jumps.get((hook, rule[2:]), 0) + 1
            case ["-X", name]:
                assert chains.pop(name) == []
                assert not any(
                    f" {name}" in f"{rule} "
                    for rules in chains.values()
                    for rule in rules
                    if rule.endswith(name)
                )
            case ["COMMIT"]:
                states.append(
                    {ChainKey(family, t, n): tuple(r) for t, (c, _) in tables.items() for n, r in c.items()}
                    | {
                        JumpKey(family, t, *j): "" if n == 1 else str(n)
                        for t, (_, js) in tables.items()
                        for j, n in js.items()
                    }
                )
            case _:
                raise AssertionError(line)
    return states


def part(program, family):
    return {k: v for k, v in program.items() if k.family == family}


@settings(max_examples=40, deadline=None)
@given(seeds, seeds)
def test_the_scripts_of_a_diff_make_the_desired_program(one, other):
    old, new = (
        TARGET.lower(random_dataplane(random.Random(one))),
        TARGET.lower(random_dataplane(random.Random(other))),
    )
    found = scripts(diff(old, new))
    for family in ("ip4", "ip6"):
        after = commits(old, family, found[family])[-1] if family in found else part(old, family)
        assert after == part(new, family)


def variations(rng: random.Random) -> tuple[Dataplane, Dataplane]:
    """Two dataplanes of one node: Services come, go, and lose or gain endpoints."""
    base = random_dataplane(rng, 14)
    other = msgspec.structs.replace(random_dataplane(rng, 14), node=base.node, settings=base.settings)
    kept = [p for p in base.ports if rng.random() < 0.7]
    names = {p.name for p in kept}
    taken = {(f.address, f.port, p.protocol, p.family) for p in kept for f in p.frontends}
    added = [
        p
        for p in other.ports
        if p.name not in names
        and not any((f.address, f.port, p.protocol, p.family) in taken for f in p.frontends)
        and rng.random() < 0.6
    ]
    return base, msgspec.structs.replace(
        base, ports=tuple(sorted((*kept, *added), key=lambda p: (p.name, p.family.value)))
    )


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_between_two_commits_no_packet_leaks(seed):
    rng = random.Random(seed)
    one, other = variations(rng)
    old, new = TARGET.lower(one), TARGET.lower(other)
    probes = packets(rng, one, 60) + (packets(rng, other, 60) if other.ports else [])
    for family, script in scripts(diff(old, new)).items():
        before, after = Walker(old, family), Walker(new, family)
        mine = [p for p in probes if (":" in p.destination) is (family == "ip6")]
        for state in commits(old, family, script)[:-1]:
            between = Walker(state, family)
            for packet in mine:
                allowed = before.outcomes(packet) | after.outcomes(packet)
                # what isn't served all along may be refused in either way for an instant
                if {o.verdict for o in allowed} != {"dnat"}:
                    allowed |= {Outcome("reject"), Outcome("drop")}
                assert between.outcomes(packet) <= allowed, packet


def test_only_what_changed_is_sent():
    changes = [Change(SVC, ("-j RETURN",), ("-p tcp -j DNAT --to-destination 10.0.0.1:80",))]
    assert scripts(changes) == {
        "ip4": "*nat\n:KCOMPILE-SVC-A - [0:0]\n"
        "-A KCOMPILE-SVC-A -p tcp -j DNAT --to-destination 10.0.0.1:80\nCOMMIT\n"
    }


def test_nothing_is_no_script():
    assert scripts([]) == {}


def test_deletions_free_a_chain_before_it_goes():
    hook = JumpKey("ip4", "nat", "PREROUTING", HOOK)
    services = ChainKey("ip4", "nat", "KCOMPILE-SERVICES")
    text = scripts([Change(services, ("-j RETURN",), None), Change(hook, "", None)])["ip4"]
    assert text == f"*nat\n:KCOMPILE-SERVICES - [0:0]\n-D PREROUTING {HOOK}\n-X KCOMPILE-SERVICES\nCOMMIT\n"


def test_a_jump_found_twice_is_put_right():
    hook = JumpKey("ip4", "nat", "PREROUTING", HOOK)
    text = scripts([Change(hook, "2", "")])["ip4"]
    assert text == f"*nat\n-D PREROUTING {HOOK}\n-D PREROUTING {HOOK}\n-I PREROUTING 1 {HOOK}\nCOMMIT\n"


@pytest.mark.parametrize(
    ("old", "new", "tables"),
    [
        ((), ("-j DROP",), ["*filter", "*nat"]),
        (("-j DROP",), (), ["*nat", "*filter"]),
        (("-j DROP",), ("-j REJECT --reject-with icmp-port-unreachable",), ["*filter", "*nat", "*filter"]),
    ],
)
def test_verdicts_come_before_a_nat_change_and_go_after_it(old, new, tables):
    text = scripts([Change(REJECTED, old, new), Change(SVC, (), ("-j RETURN",))])["ip4"]
    assert [line for line in text.splitlines() if line.startswith("*")] == tables


@pytest.mark.parametrize("seed", range(6))
def test_a_whole_program_rendered_and_saved_parses_to_itself(seed):
    """Saved text is the rendered text, but for jumps: they are inserted, and saved as appended."""
    program = TARGET.lower(random_dataplane(random.Random(seed)))
    for family, text in render_program(program).items():
        saved = "\n".join(
            f"-A {line[3:].replace(' 1 ', ' ', 1)}" if line.startswith("-I ") else line
            for line in text.splitlines()
        )
        assert parse(saved, family) == part(program, family)


def test_parse_counts_repeated_jumps_and_leaves_others_rules_alone():
    text = (
        "# comment\n*nat\n:PREROUTING ACCEPT [3:180]\n:KUBE-SERVICES - [0:0]\n:KCOMPILE-SERVICES - [0:0]\n"
        "-A PREROUTING -j KUBE-SERVICES\n"
        "-A PREROUTING -j KCOMPILE-SERVICES\n-A PREROUTING -j KCOMPILE-SERVICES\n"
        "-A KCOMPILE-SERVICES -j RETURN\n-A KUBE-SERVICES -j RETURN\nCOMMIT\n"
    )
    assert parse(text, "ip4") == {
        ChainKey("ip4", "nat", "KCOMPILE-SERVICES"): ("-j RETURN",),
        JumpKey("ip4", "nat", "PREROUTING", "-j KCOMPILE-SERVICES"): "2",
    }
