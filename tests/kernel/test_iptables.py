"""The iptables target against a real kernel, both variants: what is written is what is read back, and a diff
does what it says.
"""

import json
import random
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import modes, netns
from harness.random_dataplanes import random_dataplane
from kcompile.errors import KernelError, UnsupportedError
from kcompile.kernel import iptables
from kcompile.program import diff
from kcompile.targets.iptables import IptablesTarget
from kcompile.targets.iptables.render import render_program
from unit.iptables.expectations import with_any_policies

pytestmark = pytest.mark.kernel
TARGET = IptablesTarget()
seeds = st.integers(0, 2**32)
random_kernel = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def program_of(seed: int):
    rng = random.Random(seed)
    dataplane = random_dataplane(rng)
    return TARGET.lower(with_any_policies(rng, dataplane) if seed % 2 else dataplane)


@pytest.fixture(params=["legacy", "nft"])
def variant(request):
    if reason := modes.missing(f"iptables-{request.param}"):
        pytest.skip(reason)
    return request.param


@pytest.fixture
def here(variant):
    """Inside an empty namespace."""
    with netns.group(["ipt"]) as names, netns.enter(names["ipt"]):
        yield variant


def become(variant, program):
    """Bring the namespace to `program`, and check that it is there."""
    observed = iptables.observe(variant)
    scripts = TARGET.scripts(diff(observed, program))
    iptables.check(scripts, variant)
    iptables.apply(scripts, variant)
    assert iptables.observe(variant) == program


@random_kernel
@given(seeds)
def test_what_is_written_is_read_back(here, seed):
    program = program_of(seed)
    become(here, {})
    iptables.apply(render_program(program), here)
    assert iptables.observe(here) == program
    become(here, {})


@random_kernel
@given(seeds, seeds)
def test_the_diff_of_two_programs_turns_one_into_the_other(here, one, other):
    become(here, program_of(one))
    become(here, program_of(other))
    assert diff(iptables.observe(here), program_of(other)) == ()


def test_an_empty_namespace_holds_nothing_and_stays_so(here):
    assert iptables.observe(here) == {}
    assert iptables.detect_backend("legacy") == "legacy"
    iptables.detect_backend()
    for family in ("ip", "ip6"):
        with open(f"/proc/thread-self/net/{family}_tables_names") as names:  # noqa: PTH123
            assert names.read() == "", "looking brought a legacy table to life"


def test_foreign_rules_and_order(here):
    """Ours come first in each hook; others' rules, also ones that look a bit like ours, are neither seen nor
    touched.
    """
    netns_rules = "*filter\n:OTHER - [0:0]\n-A FORWARD -j OTHER\n-A OTHER -s 10.9.9.9/32 -j DROP\nCOMMIT\n"
    iptables.apply({"ip4": netns_rules}, here)
    assert iptables.observe(here) == {}
    become(here, program_of(2))
    saved = iptables._saved(here, ("filter",))["ip4"]
    forward = [line for line in saved.splitlines() if line.startswith("-A FORWARD ")]
    assert "KCOMPILE-FORWARD" in forward[0]
    assert forward[1] == "-A FORWARD -j OTHER"
    become(here, {})
    assert "-A OTHER -s 10.9.9.9/32 -j DROP" in iptables._saved(here, ("filter",))["ip4"]


@pytest.mark.parametrize(
    "damage",
    [
        "*nat\n-A KCOMPILE-SERVICES -j RETURN\nCOMMIT\n",
        "*nat\n-F KCOMPILE-SERVICES\nCOMMIT\n",
        "*nat\n:KCOMPILE-STRAY - [0:0]\nCOMMIT\n",
        "*nat\n-F PREROUTING\nCOMMIT\n",
        '*nat\n-A PREROUTING -m comment --comment "kcompile: services" -j KCOMPILE-SERVICES\nCOMMIT\n',
        "*filter\n-A INPUT -g KCOMPILE-FORWARD\nCOMMIT\n",
        "*filter\n-F FORWARD\n-F KCOMPILE-FORWARD\nCOMMIT\n",
    ],
)
def test_damage_is_seen_and_repaired(here, damage):
    program = program_of(4)
    become(here, program)
    iptables.apply({"ip4": damage}, here)
    assert iptables.observe(here) != program
    become(here, program)
    become(here, {})


def test_a_refused_script_names_its_line_and_changes_nothing(here):
    program = program_of(6)
    become(here, program)
    with pytest.raises(KernelError, match=r"iptables-.*restore: .*: -A KCOMPILE-SERVICES --nonsense"):
        iptables.apply(
            {"ip4": "*nat\n:KCOMPILE-SERVICES - [0:0]\n-A KCOMPILE-SERVICES --nonsense\nCOMMIT\n"}, here
        )
    with pytest.raises(KernelError):
        iptables.check({"ip4": "*nat\n-A KCOMPILE-SERVICES -p nonsense\nCOMMIT\n"}, here)
    assert iptables.observe(here) == program


def test_check_writes_nothing(here):
    iptables.check(render_program(program_of(8)), here)
    assert iptables.observe(here) == {}


def test_both_families_work(here):
    assert iptables.families(here) == ("ip4", "ip6")


def test_the_variant_in_use_is_detected(here):
    become(here, program_of(2))
    assert iptables.detect_backend() == here


def test_kubelet_s_hint_outweighs_more_rules(here):
    other = "legacy" if here == "nft" else "nft"
    become(here, program_of(2))
    iptables.apply({"ip4": "*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n"}, other)
    assert iptables.detect_backend() == other


def test_overrides_are_taken_or_refused():
    assert iptables.detect_backend("nft") == "nft"
    with pytest.raises(UnsupportedError, match="ebpf"):
        iptables.detect_backend("ebpf")


IPTC = """
import iptc, json, sys
held = {}
for name in ("nat", "filter"):
    for chain in iptc.Table(name).chains:
        if chain.name.startswith("KCOMPILE-"):
            held[f"{name} {chain.name}"] = [r.target.standard_target or r.target.name for r in chain.rules]
json.dump(held, sys.stdout)
"""


def test_python_iptables_sees_the_same_chains():
    """A second reader of the kernel's legacy tables: libiptc's own.

    Its tables are one a process, hence the child.
    """
    pytest.importorskip("iptc")
    if reason := modes.missing("iptables-legacy"):
        pytest.skip(reason)
    with netns.group(["iptc"]) as names, netns.enter(names["iptc"]):
        program = {k: v for k, v in program_of(10).items() if k.family == "ip4"}
        iptables.apply(render_program(program), "legacy")
        done = subprocess.run([sys.executable, "-c", IPTC], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    held = json.loads(done.stdout)
    chains = {f"{k.table} {k.name}": v for k, v in program.items() if k.kind == "chain"}
    assert held.keys() == chains.keys()
    assert {name: len(rules) for name, rules in held.items()} == {
        name: len(rules) for name, rules in chains.items()
    }
