"""Lowering as a function: of nothing but the dataplane, whatever was lowered before."""

import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.random_dataplanes import random_dataplane
from kcompile.ir.model import Dataplane
from kcompile.ir.node import Compat, NodeFacts, Settings
from kcompile.targets.iptables import IptablesTarget
from kcompile.targets.iptables.names import CHAIN_MAX, CHAIN_PREFIX
from kcompile.targets.xtables.keys import ChainKey, JumpKey

seeds = st.integers(0, 2**32)


@settings(max_examples=30, deadline=None)
@given(st.lists(seeds, min_size=2, max_size=4))
def test_what_was_lowered_before_makes_no_difference(many):
    target = IptablesTarget()
    for seed in many:
        rng = random.Random(seed)
        dataplane = random_dataplane(rng)
        kept = tuple(p for p in dataplane.ports if rng.random() < 0.5)
        for given_ports in (
            dataplane.ports,
            kept,
            tuple(msgspec.structs.replace(p, affinity_seconds=5) for p in kept),
            dataplane.ports,
        ):
            wanted = msgspec.structs.replace(dataplane, ports=given_ports)
            program = target.lower(wanted)
            assert program == IptablesTarget().lower(wanted)
            assert list(program) == list(IptablesTarget().lower(wanted))


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_names_are_ours_and_fit(seed):
    for key in IptablesTarget().lower(random_dataplane(random.Random(seed))):
        if key.kind == "chain":
            assert key.name.startswith(CHAIN_PREFIX)
            assert len(key.name) <= CHAIN_MAX


def test_without_services_there_is_nothing():
    assert IptablesTarget().lower(Dataplane(NodeFacts(), Settings(compat=Compat.of("iptables")), ())) == {}


def test_another_number_of_backends_renames_no_chain():
    """Beyond the few that are listed in the tree itself."""
    dataplane = random_dataplane(random.Random(4), 30)

    def names(ports):
        return {
            k.name
            for k in IptablesTarget().lower(msgspec.structs.replace(dataplane, ports=ports))
            if k.kind == "chain"
        }

    big = tuple(
        msgspec.structs.replace(p, cluster=p.cluster * 6) if p.cluster else p for p in dataplane.ports
    )
    bigger = tuple(
        msgspec.structs.replace(p, cluster=p.cluster * 7) if p.cluster else p for p in dataplane.ports
    )
    assert names(big) == names(bigger)


def test_descriptions_are_commands():
    target = IptablesTarget()
    program = {
        ChainKey("ip6", "nat", "KCOMPILE-X"): ("-j RETURN",),
        JumpKey("ip4", "filter", "INPUT", "-j KCOMPILE-INPUT"): "",
    }
    assert [target.describe(k, v) for k, v in program.items()] == [
        "ip6tables -t nat -N KCOMPILE-X; -A -j RETURN",
        "iptables -t filter -I INPUT 1 -j KCOMPILE-INPUT",
    ]
