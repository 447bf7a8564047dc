"""The model foretells every flow case: from our lowered rules, and from those that kube-proxy 1.36.2 made of
them. tests/conformance sends the packets.
"""

from pathlib import Path

import pytest

from harness.flowcase import load
from harness.foretelling import disagreement, foretold, lowered
from kcompile.trace.iptables import from_save
from kcompile.trace.lowered import base_chains
from kcompile.trace.nft import from_json

TESTS = Path(__file__).parents[2]
CASES = sorted((TESTS / "conformance/flowcases").glob("*.yaml"))
RULES = TESTS / "kubeproxy/rules"
THEIRS = sorted(path.name.partition(".")[0] for path in RULES.glob("*.nftables.json"))


def wrong(case, chains, mode, program=None):
    found = {}
    for flow in case.flows:
        endings = foretold(chains, case, flow, program)
        if problem := disagreement(endings, flow.expect(mode), case.node):
            found[str(flow)] = problem
    return found


@pytest.mark.parametrize("mode", ["nftables", "iptables-legacy", "ipvs", "xdp"])
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_every_flow_is_foretold(path, mode, tmp_path):
    case = load(path)
    program = lowered(case, mode, tmp_path).program
    assert not wrong(case, base_chains(program), mode, program)


@pytest.mark.parametrize("name", THEIRS)
def test_kube_proxys_nftables_rules(name):
    case = load(TESTS / f"conformance/flowcases/{name}.yaml")
    chains = from_json((RULES / f"{name}.nftables.json").read_bytes())
    assert chains
    assert not wrong(case, chains, "nftables")


@pytest.mark.parametrize("name", THEIRS)
def test_kube_proxys_iptables_rules(name):
    case = load(TESTS / f"conformance/flowcases/{name}.yaml")
    chains = [
        chain
        for version in (4, 6)
        for chain in from_save((RULES / f"{name}.iptables-legacy.ipv{version}.txt").read_text(), version)
    ]
    assert chains
    assert not wrong(case, chains, "iptables")
